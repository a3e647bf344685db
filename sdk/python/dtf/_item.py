"""Items, and running functions on them."""

from __future__ import annotations

import json
import threading
import traceback
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Tuple

from .errors import Cancelled, FinalError

#: The most bytes of a result that a gateway takes.
MAX_RESULT = 1024 * 1024
#: The most characters of an error that a gateway keeps.
MAX_ERROR = 4096
#: The most characters of a message about an item that runs.
MAX_MESSAGE = 256


@dataclass(frozen=True)
class Function:
    """A function that a worker offers."""

    name: str
    call: Callable[..., Any]
    #: The time for an item, in seconds; none for the task's own.
    timeout: Optional[float]
    #: The most attempts at an item after the first; none for as many as the task allows.
    retries: Optional[int]
    #: True if it takes the context as its second argument.
    wants_context: bool
    is_async: bool


#: What is told of an item that runs: its progress and its message, as the protocol names them.
Note = Dict[str, Any]


class Context:
    """Tells a function about the item that it runs on, and the service what the function says of it."""

    def __init__(self, task: int, key: str, attempt: int, function: str, tell: Optional[Callable[[Note], Any]] = None) -> None:
        #: The id of the task.
        self.task = task
        #: The idempotency key: the same for every attempt at the item.
        self.key = key
        #: The number of earlier attempts that failed.
        self.attempt = attempt
        #: The name of the function.
        self.function = function
        self._cancelled = threading.Event()
        self._tell = tell
        self._progress: Optional[float] = None

    @property
    def cancelled(self) -> bool:
        """True once the item is not wanted any more, or its time is over. A long function looks at it now and then."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raises :class:`dtf.Cancelled` once the item is not wanted any more."""
        if self._cancelled.is_set():
            raise Cancelled("the item is not wanted any more")

    def sleep(self, seconds: float) -> None:
        """Waits, and raises :class:`dtf.Cancelled` as soon as the item is not wanted any more."""
        if self._cancelled.wait(seconds):
            self.check()

    def progress(self, fraction: float, message: Optional[str] = None) -> None:
        """Tells the service how much of the item is done, from 0 to 1, and in a line what is done now.

        Only the newest is told, once a second at most, so a function may call it as often as it likes.
        """
        self._progress = min(1.0, max(0.0, float(fraction)))
        self._note(message)

    def log(self, message: str) -> None:
        """Tells the service in a line what is done now; the first 256 characters count."""
        self._note(message)

    def _note(self, message: Optional[str]) -> None:
        note: Note = {} if self._progress is None else {"progress": self._progress}
        if message is not None:
            note["message"] = str(message).encode("utf-8", "replace").decode()[:MAX_MESSAGE]
        if self._tell is not None:
            self._tell(note)


class Item:
    """An item that the worker has: it waits, runs, or has ended and is not reported yet."""

    #: The time at which it began; 0 while it waits for a slot.
    began = 0.0
    #: True once it has an outcome, or is not wanted any more.
    over = False
    #: The report on it, as JSON.
    report = ""
    succeeded = False
    context: Optional[Context] = None
    #: Stops the function where that is possible.
    stop: Optional[Callable[[], Any]] = None

    def __init__(self, raw: Dict[str, Any], function: Optional[Function], session: str, given: float) -> None:
        self.ticket: str = raw["ticket"]
        #: The item as the gateway gives it. What most items do not need is read when it is asked for.
        self.raw = raw
        self.function = function
        #: The session that it was given to, and when.
        self.session = session
        self.given = given

    @property
    def timeout(self) -> float:
        """The time for it, in seconds."""
        own: float = self.raw["timeout_ms"] / 1000
        offered = self.function.timeout if self.function is not None else None
        return own if offered is None else min(own, offered)

    def new_context(self, tell: Callable[[Item, Note], Any]) -> Context:
        """Returns the context for the function, whose notes are told."""
        name = self.function.name if self.function else ""
        raw = self.raw
        self.context = Context(raw["task"], raw["key"], raw["attempt"], name, lambda note: tell(self, note))
        if self.over:
            # It was dropped at this moment.
            self.context._cancelled.set()
        return self.context

    def cancel(self) -> None:
        """Tells the function that the item is not wanted any more, and stops it where that is possible."""
        if self.context is not None:
            self.context._cancelled.set()
        if self.stop is not None:
            self.stop()

    def fail(self, message: str, retryable: bool) -> str:
        """Returns the report of a failure."""
        most = self.function.retries if self.function else None
        if most is not None and self.raw["attempt"] >= most:
            retryable = False
        message = message.encode("utf-8", "replace").decode()[:MAX_ERROR]
        return json.dumps({"ticket": self.ticket, "error": message, "retryable": retryable})

    def settle(self, outcome: Outcome) -> None:
        """Makes the report of an outcome."""
        result, error, retryable = outcome
        self.over, self.succeeded = True, result is not None
        self.raw["body"] = None
        self.report = self.fail(error, retryable) if result is None else f'{{"ticket":"{self.ticket}","result":{result}}}'


#: The JSON of a result, or none; and the error, and whether another attempt may succeed.
Outcome = Tuple[Optional[str], str, bool]


def run(call: Callable[..., Any], *arguments: Any) -> Outcome:
    """Calls a function and returns its outcome."""
    try:
        value = call(*arguments)
    except BaseException as error:  # noqa: BLE001 - a worker outlives its functions, whatever they raise.
        return failure(error)
    return encode(value)


def failure(error: BaseException) -> Outcome:
    """Returns the outcome of a function that raised an error."""
    if isinstance(error, FinalError):
        return None, str(error) or "FinalError", False
    frames = traceback.extract_tb(error.__traceback__)
    at = f" (at {frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    return None, text + at, True


_NULL: Outcome = ("null", "", False)
_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(value: Any) -> Outcome:
    """Returns the outcome of a function that returned a value: one that is no JSON is an error that no attempt can mend."""
    if value is None:
        return _NULL
    try:
        text = _json(value)
        # The bytes are counted where there may be too many; half a surrogate pair has none.
        size = len(text) if text.isascii() else len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        return None, f"the result is no JSON: {error}; return numbers, strings, booleans, None, lists and dicts of these", False
    if size > MAX_RESULT:
        return None, f"the result has {size} bytes; at most {MAX_RESULT} are taken; store it and return where it is", False
    return text, "", False
