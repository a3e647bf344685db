"""What functions say of their items while these run."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, Dict, List

from ._http import Backoff
from ._item import Note
from .errors import ApiError, DtfError

log = logging.getLogger("dtf")

#: The least time between two requests with notes, in seconds.
PAUSE = 1.0


class Notes:
    """The newest note of each item. They are sent once a second at most, with a beat of their own beside the one that waits.

    ``send`` sends notes, and returns false where there is no session to send them in.
    """

    def __init__(self, send: Callable[[Dict[str, Note]], bool]) -> None:
        self._send = send
        self._newest: Dict[str, Note] = {}
        self._some = threading.Event()
        self._ended = threading.Event()

    def add(self, ticket: str, note: Note) -> None:
        """Takes a note of an item, in place of an earlier one."""
        if not self._ended.is_set():
            self._newest[ticket] = note
            self._some.set()

    def close(self) -> None:
        """Sends no more."""
        self._ended.set()
        self._some.set()

    def loop(self) -> None:
        """Sends notes until the worker ends."""
        backoff = Backoff()
        while True:
            self._some.wait()
            if self._ended.is_set():
                return
            self._some.clear()
            notes, self._newest = self._newest, {}
            began, pause = time.monotonic(), PAUSE
            try:
                sent = self._send(notes)
                backoff.reset()
            except ApiError as error:
                if error.code == "invalid_request":
                    log.warning("the service takes no progress of items: %s", error.detail)
                    return self._ended.set()
                sent, pause = False, max(PAUSE, backoff.next(error))
            except DtfError as error:
                sent, pause = False, max(PAUSE, backoff.next(error))
            if not sent:
                for ticket, note in notes.items():
                    self._newest.setdefault(ticket, note)
                self._some.set()
            self._ended.wait(began + pause - time.monotonic())


def listed(notes: Dict[str, Note]) -> List[Dict[str, Any]]:
    """Returns notes as the protocol has them."""
    return [{"ticket": ticket, **note} for ticket, note in notes.items()]
