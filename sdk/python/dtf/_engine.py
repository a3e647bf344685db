"""The engine of a worker: it polls, reports and beats while slots run functions.

| thread | what it does |
|---|---|
| poll | begins sessions, and asks for as many items as there is room for |
| report | sends all outcomes that there are, in one request; meanwhile further ones gather |
| beat | names all items that the worker has, and hears which are not wanted any more |
| watch | stops items whose time is over, and gives back those that wait too long for a slot |
| notes | tells what functions say of their items |

Slots take items and append outcomes without a lock, so that an item costs little; the rest of the state is under one. What a slot and a
thread under the lock do at the same moment may have an outcome reported twice, of which the service takes one.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Tuple

from ._http import TIMEOUT, Backoff, Connection
from ._item import Function, Item, Note, Outcome
from ._notes import Notes, listed
from ._processes import ProcessSlots
from ._slots import AsyncSlots, Slots, ThreadSlots
from .errors import ApiError, ConnectionFailed, DtfError

log = logging.getLogger("dtf")

MAX_ITEMS = 1000
MAX_REPORT = 4 * 1024 * 1024
POLL_MS = 20_000
BEAT_MS = 10_000
#: The time that outcomes wait for others while more is running, in seconds.
LINGER = 0.003
#: The longest pause before the next poll, in seconds, where the last one brought at least MANY items at once and less than half of what was
#: asked for: more gather meanwhile, and a request costs both sides as much as dozens of small items. None while nothing is in hand.
GATHER = 0.005
MANY = 8
#: The work that is fetched ahead, in seconds.
AHEAD = 0.02
#: The time after which a gateway gives an item that a beat does not name to others, and a little more.
UNNAMED = 5.5
#: The time after which an item that waits for a slot goes back where nothing ends.
STALE = 2.0
#: The time for which the last outcomes are tried to be reported when the worker ends.
LAST_TRIES = 30.0
#: The fields that answers must have.
FIELDS = {
    "poll": ("session", "lease_ms", "items", "dropped", "drain"),
    "report": ("accepted", "unknown"),
    "beat": ("dropped", "drain"),
}
#: The time between two looks at what runs.
TICK = 0.05


class Session(NamedTuple):
    """A session with a gateway."""

    id: str
    gateway: int


class Engine:
    """A worker that runs."""

    def __init__(
        self,
        functions: Dict[str, Function],
        urls: List[str],
        token: Optional[str],
        info: Dict[str, Any],
        concurrency: int,
        processes: bool,
        prefetch: Optional[int],
    ) -> None:
        self._functions, self._urls, self._token, self._info = functions, urls, token, info
        self._concurrency, self._prefetch = concurrency, prefetch
        self._lock = threading.RLock()
        self._room = threading.Condition(self._lock)
        self._ready = threading.Condition(self._lock)
        self._held = threading.Condition(self._lock)
        self._done = threading.Event()
        #: What the worker has, by ticket: all of it is named by beats.
        self._items: Dict[str, Item] = {}
        self._outcomes: Deque[Item] = deque()
        #: True while the thread that reports waits for outcomes.
        self._report_rests = False
        #: The number of waiting items at which the thread that polls is to be woken; below 0 while it does not wait for that.
        self._low = -1
        self._notes = Notes(self._send_notes)
        self._mean = AHEAD
        self._last_end = 0.0
        self._session: Optional[Session] = None
        self._lease_ms = 30_000
        self._gateway = 0
        self._failures = 0
        #: The time at which a beat is due although nothing may run: then the gateway sees what was lost with an answer.
        self._owed: Optional[float] = None
        #: True if an item was dropped since the last beat.
        self._hurries = False
        #: The number of polls that were broken off.
        self._cuts = 0
        self._draining: Optional[float] = None
        self._fatal: Optional[DtfError] = None
        self._lines: Dict[str, Tuple[int, Connection]] = {}
        self._slots = self._make_slots(processes)

    def _make_slots(self, processes: bool) -> Callable[[Function], Slots]:
        if processes:
            pool: Slots = ProcessSlots(self, self._concurrency, self._functions)
            self._all: List[Slots] = [pool]
            return lambda function: pool
        kinds = {function.is_async for function in self._functions.values()}
        if len(kinds) > 1:
            # Both kinds share the slots, which only the number of items held can bound.
            self._prefetch = 0
        made: Dict[bool, Slots] = {
            kind: AsyncSlots(self, self._concurrency) if kind else ThreadSlots(self, self._concurrency) for kind in kinds
        }
        self._all = list(made.values())
        return lambda function: made[function.is_async]

    # From outside.

    def run(self) -> None:
        """Runs until the worker has been drained. Raises the error that ended it, if one did."""
        loops = [self._poll_loop, self._report_loop, self._beat_loop, self._watch_loop, self._notes.loop]
        for loop in loops:
            threading.Thread(target=self._guard, args=(loop,), name=f"dtf{loop.__name__}", daemon=True).start()
        self._done.wait()
        for slots in self._all:
            slots.close()
        self._leave()
        if self._fatal is not None:
            raise self._fatal

    def _guard(self, loop: Callable[[], None]) -> None:
        """Ends the worker where one of its threads would end without the others."""
        try:
            loop()
        except BaseException as error:
            log.exception("the worker is broken")
            self._fatal = DtfError(f"the worker is broken: {error!r}")
            self._done.set()

    def drain(self) -> None:
        """Takes nothing more; what runs comes to its end, and what waits goes back."""
        with self._lock:
            if self._draining is not None:
                return
            log.info("draining: %d items run", len(self._running()))
            self._draining = time.monotonic()
            for slots in self._all:
                for item in _taken(slots.waiting):
                    self._forget(item)
            self._break_off_poll()
            self._notify()

    # From the slots.

    def begin(self, item: Item) -> bool:
        item.began = time.monotonic()
        # Whoever drops it marks it first and looks then if it has begun.
        return not item.over

    def end(self, item: Item, outcome: Outcome) -> None:
        now = self._last_end = time.monotonic()
        self._mean += 0.05 * (now - item.began - self._mean)
        if not item.over:
            item.settle(outcome)
            self._outcomes.append(item)
            if self._report_rests:
                self._report_rests = False
                self._wake(self._ready)
        self.freed()

    def freed(self) -> None:
        if len(self._all[0].waiting) <= self._low:
            self._low = -1
            self._wake(self._room)
        if self._draining is not None:
            with self._lock:
                self._notify()

    def tell(self, item: Item, note: Note) -> None:
        if not item.over:
            self._notes.add(item.ticket, note)

    def _wake(self, condition: threading.Condition) -> None:
        with self._lock:
            condition.notify()

    # Under the lock.

    def _settle(self, item: Item, outcome: Outcome) -> None:
        if not item.over:
            item.settle(outcome)
            self._outcomes.append(item)
            self._ready.notify()

    def _running(self) -> List[Item]:
        return [item for slots in self._all for item in slots.running()]

    def _forget(self, item: Item) -> None:
        """Gives back an item that was taken from those that wait: beats do not name it any more."""
        item.over = True
        self._items.pop(item.ticket, None)
        self._owed = max(self._owed or 0.0, item.given + UNNAMED)

    def _drop(self, tickets: List[str]) -> None:
        """Stops items that are not wanted any more."""
        dropped = [self._items.pop(ticket) for ticket in tickets if ticket in self._items]
        if not dropped:
            return
        # The service learns from a beat that does not name them that they are over here; nothing else may run that would make one.
        self._hurries = True
        self._held.notify_all()
        # All are marked before the first slot is free for the next one.
        going_on = [item for item in dropped if not item.over]
        for item in dropped:
            item.over = True
        if any(not item.began for item in dropped):
            for slots in self._all:
                slots.submit([item for item in _taken(slots.waiting) if not item.over])
        for item in going_on:
            if item.began:
                item.cancel()

    def _ahead(self) -> int:
        if self._prefetch is not None:
            return self._prefetch
        return min(MAX_ITEMS, int(self._concurrency * AHEAD / max(self._mean, 1e-6)))

    def _wanted(self) -> int:
        """The number of items to ask for: none while enough wait for a slot."""
        ahead = self._ahead()
        held = sum(len(slots.waiting) for slots in self._all) + len(self._running())
        waiting = held - self._concurrency
        if waiting > ahead // 2 or (ahead == 0 and waiting >= 0):
            return 0
        return min(MAX_ITEMS, self._concurrency + ahead - held)

    def _notify(self) -> None:
        self._room.notify_all()
        self._ready.notify_all()
        self._held.notify_all()
        if self._draining is not None and not self._items and not self._running():
            self._done.set()
            self._notes.close()
            self._abort("beat")

    def _lost(self, session: Optional[Session]) -> None:
        """The session has ended. What runs goes on, and its successes are reported in the next one."""
        if session is not None and session == self._session:
            log.warning("the session has ended; a new one begins")
            self._session = None
            self._notify()

    def _no_answer(self, gateway: int, error: DtfError) -> None:
        """A gateway does not answer. With several, the next one is tried, after a second failure."""
        log.warning("%s: %s", self._urls[gateway], error)
        if gateway != self._gateway:
            return
        self._failures += 1
        if len(self._urls) > 1 and self._failures >= 2:
            self._failures = 0
            self._gateway = (gateway + 1) % len(self._urls)
            self._lost(self._session)

    def _fail(self, error: DtfError) -> None:
        if self._fatal is None:
            log.error("the worker ends: %s", error)
            self._fatal = error
        self.drain()

    def _heard(self, answer: Dict[str, Any]) -> None:
        self._drop(answer["dropped"])
        if answer["drain"]:
            self.drain()

    # Calls.

    def _line(self, name: str, gateway: int) -> Connection:
        with self._lock:
            at, line = self._lines.get(name, (-1, None))
            if line is None or at != gateway:
                line = Connection(self._urls[gateway], self._token)
                self._lines[name] = (gateway, line)
            return line

    def _break_off_poll(self) -> None:
        """Ends a poll that waits. What its answer may have brought is not named by the next beat."""
        self._cuts += 1
        self._owed = max(self._owed or 0.0, time.monotonic() + UNNAMED)
        self._abort("poll")

    def _abort(self, name: str) -> None:
        _, line = self._lines.get(name, (0, None))
        if line is not None:
            line.abort()

    def _call(self, path: str, gateway: int, body: Any, wait_ms: int = 0, line: Optional[str] = None) -> Dict[str, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self._line(line or path, gateway).call("POST", f"/v1/work/{path}", data, timeout=TIMEOUT + wait_ms / 1000)
        missing = [name for name in FIELDS[path] if not isinstance(answer, dict) or name not in answer]
        if missing:
            raise ConnectionFailed(f"the answer to {path} lacks {missing[0]}: {str(answer)[:80]}")
        return answer  # type: ignore[no-any-return]

    def _failed(self, error: DtfError, session: Optional[Session], gateway: int) -> bool:
        """Takes an error of a call, and returns true if it is to be tried again after a pause."""
        with self._lock:
            if isinstance(error, ApiError):
                if error.code == "no_session":
                    self._lost(session)
                    return False
                elsewhere = len(self._urls) > 1 and error.code in ("not_allowed", "not_found")
                if not error.is_retryable and not elsewhere:
                    self._fail(error)
                    return True
            self._no_answer(gateway, error)
            return True

    # Polling.

    def _poll_loop(self) -> None:
        backoff = Backoff()
        while True:
            with self._lock:
                while not self._done.is_set():
                    ahead = self._ahead()
                    # A slot that ends an item after this look at them sees it.
                    self._low = ahead // 2 if ahead else MAX_ITEMS
                    if self._must_poll():
                        break
                    self._room.wait()
                self._low = -1
                if self._done.is_set():
                    return
                session, gateway = self._session, self._gateway
                most, cuts = self._wanted(), self._cuts
            try:
                # A session begins without items, so that none are lost with the answer.
                begin = {"worker": self._info, "functions": sorted(self._functions), "most": 0, "wait_ms": 0}
                wait_ms = min(POLL_MS, self._lease_ms // 3 * 2)
                wait = {"session": session.id, "most": most, "wait_ms": wait_ms} if session else begin
                asked = time.monotonic()
                answer = self._call("poll", gateway, wait, wait_ms if session else 0)
                self._take(answer, gateway, session is None)
                backoff.reset()
                if MANY <= len(answer["items"]) < most // 2 and time.monotonic() - asked < TICK:
                    with self._lock:
                        self._room.wait_for(lambda: not self._items or self._done.is_set(), GATHER)
            except DtfError as error:
                with self._lock:
                    self._owed = max(self._owed or 0.0, time.monotonic() + UNNAMED)
                    self._held.notify_all()
                    if self._cuts > cuts:
                        continue
                if self._failed(error, session, gateway):
                    self._done.wait(backoff.next(error))

    def _must_poll(self) -> bool:
        if self._draining is None:
            return self._session is None or self._wanted() > 0
        return self._session is None and self._fatal is None and bool(self._items)

    def _take(self, answer: Dict[str, Any], gateway: int, is_new: bool) -> None:
        now = time.monotonic()
        with self._lock:
            self._failures = 0
            if is_new:
                self._session, self._lease_ms = Session(answer["session"], gateway), answer["lease_ms"]
                log.info("%s: session %s", self._urls[gateway], answer["session"])
                self._notify()
            if answer["items"] and self._draining is None:
                self._accept(answer["items"], answer["session"], now)
            self._heard(answer)

    def _accept(self, given: List[Any], session: str, now: float) -> None:
        items, functions = self._items, self._functions
        if not items:
            self._held.notify_all()
        accepted: Dict[Slots, List[Item]] = {slots: [] for slots in self._all}
        for raw in given:
            ticket = raw["ticket"]
            held = items.get(ticket)
            if held is not None:
                # It was given to others meanwhile, and comes back: the execution that there is counts again.
                held.session, held.given = session, now
                continue
            function = functions.get(raw["function"])
            item = items[ticket] = Item(raw, function, session, now)
            if function is None:
                self._settle(item, (None, f"this worker has no function {raw['function']!r}", True))
            else:
                accepted[self._slots(function)].append(item)
        for slots, those in accepted.items():
            slots.submit(those)

    # Reporting.

    def _report_loop(self) -> None:
        while True:
            with self._lock:
                while not self._done.is_set():
                    # A slot that appends one after this look at them sees it.
                    self._report_rests = True
                    if self._outcomes:
                        break
                    self._ready.wait()
                self._report_rests = False
                if self._done.is_set():
                    return
                some = len(self._outcomes)
                lingers = some < MAX_ITEMS and some < len(self._items) and self._draining is None
            if lingers:
                self._done.wait(LINGER)
            self._send(self._batch())

    def _batch(self) -> List[Item]:
        batch: List[Item] = []
        size = 128
        with self._lock:
            while self._outcomes and len(batch) < MAX_ITEMS:
                item = self._outcomes.popleft()
                size += len(item.report) + 1
                if batch and size > MAX_REPORT:
                    self._outcomes.appendleft(item)
                    break
                # What was dropped meanwhile is not reported.
                if item.ticket in self._items:
                    batch.append(item)
        return batch

    def _send(self, batch: List[Item]) -> None:
        """Sends reports until they are taken, or do not count any more."""
        backoff = Backoff()
        while batch and not self._done.is_set():
            session = self._wait_for_session()
            if session is None:
                return self._reported(batch)
            # A failure counts only from the session that was given the item.
            stale = [item for item in batch if not item.succeeded and item.session != session.id]
            self._reported(stale)
            batch = [item for item in batch if item not in stale] if stale else batch
            if not batch:
                return
            body = f'{{"session":"{session.id}","reports":[{",".join([item.report for item in batch])}]}}'.encode()
            try:
                unknown = self._call("report", session.gateway, body)["unknown"]
            except DtfError as error:
                if isinstance(error, ApiError) and error.code in ("too_large", "invalid_request"):
                    return self._send_apart(batch, error)
                if self._failed(error, session, session.gateway):
                    self._done.wait(backoff.next(error))
                continue
            if unknown:
                log.debug("%d outcomes did not count: their items have one already, or are somebody else's", len(unknown))
            self._failures = 0
            return self._reported(batch)

    def _wait_for_session(self) -> Optional[Session]:
        """Returns the session; none if the worker ends and none can be had."""
        with self._lock:
            while self._session is None or self._draining is not None:
                if self._draining is not None:
                    late = time.monotonic() - max(self._draining, self._last_end) > LAST_TRIES
                    if late or (self._fatal is not None and self._session is None):
                        log.error("%d outcomes could not be reported; their items will run again", len(self._items))
                        return None
                    if self._session is not None:
                        break
                self._room.notify()
                self._ready.wait(0.2)
            return self._session

    def _send_apart(self, batch: List[Item], error: ApiError) -> None:
        """Finds the report that is refused, and makes it a failure."""
        if len(batch) > 1:
            half = len(batch) // 2
            self._send(batch[:half])
            return self._send(batch[half:])
        item = batch[0]
        if item.succeeded:
            item.succeeded = False
            item.report = item.fail(f"the result was refused: {error.detail}", False)
            return self._send(batch)
        log.error("a report is refused: %s", error)
        self._reported(batch)

    def _reported(self, batch: List[Item]) -> None:
        with self._lock:
            for item in batch:
                if self._items.get(item.ticket) is item:
                    del self._items[item.ticket]
            if not self._items:
                self._room.notify()
            if self._draining is not None:
                self._notify()

    # Beating.

    def _beat_loop(self) -> None:
        backoff = Backoff()
        while True:
            with self._lock:
                while not self._done.is_set() and not self._must_beat():
                    self._held.wait(None if self._session is None or self._owed is None else self._until_owed())
                if self._done.is_set():
                    return
                session = self._session
                assert session is not None
                running = [ticket for ticket, item in self._items.items() if item.session == session.id]
                wait_ms = min(BEAT_MS, self._lease_ms // 3)
                if self._owed is not None:
                    wait_ms = min(wait_ms, int(self._until_owed() * 1000))
                wait_ms, hurries, self._hurries = 0 if self._hurries else wait_ms, self._hurries, False
                sent = time.monotonic()
            try:
                news = self._call("beat", session.gateway, {"session": session.id, "running": running, "wait_ms": wait_ms}, wait_ms)
            except DtfError as error:
                self._hurries |= hurries
                if not self._done.is_set() and self._failed(error, session, session.gateway):
                    self._done.wait(backoff.next(error))
                continue
            backoff.reset()
            with self._lock:
                self._failures = 0
                if self._owed is not None and self._owed <= sent:
                    self._owed = None
                self._heard(news)

    def _send_notes(self, notes: Dict[str, Note]) -> bool:
        """Sends notes with a beat of their own. Returns false where there is no session to send them in."""
        with self._lock:
            session, items = self._session, self._items
            if session is None:
                return False
            running = [ticket for ticket, item in items.items() if item.session == session.id]
            held = {ticket: note for ticket, note in notes.items() if ticket in items}
        if held:
            body = {"session": session.id, "running": running, "wait_ms": 0, "notes": listed(held)}
            news = self._call("beat", session.gateway, body, line="notes")
            with self._lock:
                self._heard(news)
        return True

    def _until_owed(self) -> float:
        return max(0.0, (self._owed or 0.0) - time.monotonic())

    def _must_beat(self) -> bool:
        if self._session is None:
            return False
        return bool(self._items) or self._hurries or (self._owed is not None and self._until_owed() <= 0)

    # Watching.

    def _watch_loop(self) -> None:
        while not self._done.wait(TICK):
            if not self._items and not self._running():
                with self._lock:
                    while not self._items and not self._done.is_set():
                        self._held.wait()
            now = time.monotonic()
            with self._lock:
                for slots in self._all:
                    for item in slots.overdue(now):
                        self._overrun(slots, item)
                if now - self._last_end > STALE:
                    self._give_back(now)
                if self._wanted() > 0 or self._draining is not None:
                    self._notify()

    def _give_back(self, now: float) -> None:
        """Gives back what waits too long for a slot, and fetches nothing ahead until functions are fast again."""
        for slots in self._all:
            if all(now - item.given <= STALE for item in list(slots.waiting)):
                continue
            self._mean = max(self._mean, STALE)
            self._break_off_poll()
            fresh = []
            for item in _taken(slots.waiting):
                if now - item.given > STALE:
                    self._forget(item)
                else:
                    fresh.append(item)
            slots.submit(fresh)

    def _overrun(self, slots: Slots, item: Item) -> None:
        self._settle(item, (None, f"the function took longer than {item.timeout:g} s", True))
        item.cancel()
        slots.abandon(item)
        self._room.notify()

    def _leave(self) -> None:
        session = self._session
        if session is None:
            return
        try:
            line = Connection(self._urls[session.gateway], self._token)
            line.call("POST", "/v1/work/leave", json.dumps({"session": session.id}).encode(), timeout=5.0)
        except DtfError as error:
            log.info("the gateway did not hear that the worker leaves: %s", error)


def _taken(waiting: Deque[Item]) -> List[Item]:
    """Takes all items that wait: no slot has one of them."""
    taken: List[Item] = []
    try:
        while True:
            taken.append(waiting.popleft())
    except IndexError:
        return taken
