"""Slots that are processes, which are killed where a function does not return in time.

Items that take little time are sent to a process in parcels, so that each costs less than a turn of a pipe. Shared memory has the number of
the item that runs, so that what is late or has died is known; and how many of the parcel shall run, so that those behind a slow one can be
called back.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
import time
from functools import partial
from typing import Any, Dict, List, Optional, Tuple

from ._item import Context, Function, Item, Note, Outcome, run
from ._slots import Host, Slot, ThreadSlots

log = logging.getLogger("dtf")

#: The most items of a parcel, and the most time that one shall take, in seconds.
MOST = 64
LONGEST = 0.005
#: The time after which the outcomes of a parcel that runs are sent, in seconds.
FLUSH = 0.002
#: The time after which those that a slow item has kept are.
KEPT = 0.02
NOTE, SOME, LAST = range(3)


class ProcessSlot(Slot):
    """A slot with its process and its parcel."""

    child: _Child
    parcel: List[Item] = []
    #: The number of items with an outcome, and of those that were not called back.
    done = 0
    most = 0
    #: The number of the item that ran at the last look, and the time since which.
    seen = -1
    since = 0.0


class ProcessSlots(ThreadSlots):
    """Runs items in some processes. A function that does not return in time is killed with its process."""

    def __init__(self, host: Host, concurrency: int, functions: Dict[str, Function]) -> None:
        self._functions = functions
        #: The time that an item takes, in seconds.
        self._mean = 1.0
        super().__init__(host, concurrency)

    def _new_slot(self) -> Slot:
        return ProcessSlot()

    def running(self) -> List[Item]:
        return [item for slot in self._slots for item in _rest_of(slot)]

    def overdue(self, now: float) -> List[Item]:
        late = []
        for slot in self._slots:
            assert isinstance(slot, ProcessSlot)
            if not slot.parcel:
                continue
            at = slot.child.at.value
            if at != slot.seen:
                slot.seen, slot.since = at, now
            elif at < slot.most:
                item = slot.parcel[at]
                if slot.since + item.timeout <= now:
                    late.append(item)
                self._call_back(slot, at)
        return late

    def _call_back(self, slot: ProcessSlot, at: int) -> None:
        """Gives what is behind a slow item to other slots."""
        behind = slot.parcel[at + 1 : slot.most]
        if behind:
            slot.child.most.value = slot.most = at + 1
            self._again(behind)

    def _again(self, items: List[Item]) -> None:
        again = [item for item in items if not item.over]
        for item in again:
            item.began = 0.0
        self.submit(again)

    def abandon(self, item: Item) -> None:
        """Nothing to do: its process was killed."""

    def close(self) -> None:
        super().close()
        for slot in self._slots:
            slot.thread.join(5)

    def _loop(self, slot: Slot) -> None:
        assert isinstance(slot, ProcessSlot)
        slot.child = _Child(self._functions)
        while True:
            taken = self._take()
            if not taken:
                if self._rest(slot):
                    continue
                break
            if not slot.child.is_alive():
                slot.child = _Child(self._functions)
            parcel = []
            for item in taken:
                item.stop = partial(_stop, slot, item)
                if self._host.begin(item):
                    parcel.append(item)
            if parcel:
                self._run(slot, parcel)
        slot.child.close()

    def _take(self) -> List[Item]:
        most = min(MOST, 1 + len(self.waiting) // len(self._slots), 1 + int(LONGEST / self._mean) if self._mean < LONGEST / 10 else 1)
        taken: List[Item] = []
        try:
            while len(taken) < most:
                taken.append(self.waiting.popleft())
        except IndexError:
            pass
        return taken

    def _run(self, slot: ProcessSlot, parcel: List[Item]) -> None:
        child = slot.child
        child.at.value, child.most.value = 0, len(parcel)
        slot.done, slot.most, slot.seen, slot.parcel = 0, len(parcel), -1, parcel
        try:
            child.pipe.send([_sent(item) for item in parcel])
            while not self._receive(slot, child.pipe.recv()):
                pass
            unended: List[Item] = []
        except (EOFError, OSError):
            unended = self._died(slot)
        slot.parcel = []
        self._again(unended)
        # The end of each was told while others of the parcel still had the slot.
        self._host.freed()

    def _receive(self, slot: ProcessSlot, message: Tuple[int, Any, float]) -> bool:
        """Takes what a process says. Returns true where it was the last of a parcel."""
        kind, said, took = message
        if kind == NOTE:
            number, key, note = said
            # A thread that outlives its function may say something late.
            if number < len(slot.parcel) and slot.parcel[number].raw["key"] == key:
                self._host.tell(slot.parcel[number], note)
            return False
        if said:
            each = took / len(said)
            self._mean += 0.1 * (each - self._mean)
            began = time.monotonic() - each
        for outcome in said:
            item = slot.parcel[slot.done]
            slot.done += 1
            if slot.done <= slot.most:
                item.began = began
                self._host.end(item, outcome)
        return kind == LAST

    def _died(self, slot: ProcessSlot) -> List[Item]:
        """Makes the death of a process a failure of the item that ran, and returns the others."""
        code, at = slot.child.end(), slot.child.at.value
        rest = slot.parcel[slot.done : slot.most]
        if slot.done <= at < slot.most:
            item = rest.pop(at - slot.done)
            self._host.end(item, (None, f"the process that ran the function ended with exit code {code}", True))
        return rest


def _rest_of(slot: Slot) -> List[Item]:
    return slot.parcel[slot.done : slot.most] if isinstance(slot, ProcessSlot) else []


def _stop(slot: ProcessSlot, item: Item) -> None:
    """Kills a process, if it runs this item."""
    at = slot.child.at.value
    if at < len(slot.parcel) and slot.parcel[at] is item:
        slot.child.kill()


def _sent(item: Item) -> Tuple[str, Any, int, str, int]:
    assert item.function is not None
    raw = item.raw
    return item.function.name, raw["body"], raw["task"], raw["key"], raw["attempt"]


class _Child:
    """A process that runs functions."""

    def __init__(self, functions: Dict[str, Function]) -> None:
        # Forking a process that has threads may deadlock.
        spawn = multiprocessing.get_context("spawn")
        self.pipe, other = spawn.Pipe()
        #: The number of the item of the parcel that runs, and the number of those that shall.
        self.at: Any = spawn.RawValue("i", 0)
        self.most: Any = spawn.RawValue("i", 0)
        self._process = spawn.Process(target=_serve, args=(other, functions, self.at, self.most), name="dtf-slot", daemon=True)
        self._process.start()
        other.close()
        # The time of an item does not begin before its process has.
        try:
            self.pipe.recv()
        except (EOFError, OSError):
            log.error("a process for functions ended at once; is worker.run behind `if __name__ == \"__main__\":`?")

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> Optional[int]:
        """Waits for the end of a process that has died, and returns its exit code."""
        self._process.join()
        return self._process.exitcode

    def close(self) -> None:
        self.pipe.close()
        self._process.join(5)
        self._process.kill()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Outbox:
    """What a process has to say. Outcomes gather for some milliseconds."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._outcomes: List[Outcome] = []
        self._since = self._last = 0.0
        self._runs = threading.Event()
        threading.Thread(target=self._loop, daemon=True).start()

    def begin(self) -> None:
        self._since = time.monotonic()
        self._runs.set()

    def add(self, outcome: Outcome) -> None:
        with self._lock:
            self._outcomes.append(outcome)
            self._last = time.monotonic()
            if self._last - self._since >= FLUSH:
                self._flush(SOME)

    def end(self) -> None:
        with self._lock:
            self._runs.clear()
            self._flush(LAST)

    def note(self, number: int, key: str, note: Note) -> None:
        with self._lock:
            self._pipe.send((NOTE, (number, key, note), 0.0))

    def _flush(self, kind: int) -> None:
        outcomes, self._outcomes = self._outcomes, []
        took, self._since = self._last - self._since, self._last
        self._pipe.send((kind, outcomes, took))

    def _loop(self) -> None:
        """Sends the outcomes that a slow item would keep."""
        while self._runs.wait():
            time.sleep(KEPT)
            with self._lock:
                if self._outcomes and time.monotonic() - self._last >= FLUSH:
                    self._flush(SOME)


def _serve(pipe: Any, functions: Dict[str, Function], at: Any, most: Any) -> None:
    # The parent is told to stop, and lets its children come to their end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    outbox = _Outbox(pipe)
    pipe.send(None)
    while True:
        try:
            parcel = pipe.recv()
        except (EOFError, OSError):
            return
        outbox.begin()
        for number, (name, body, task, key, attempt) in enumerate(parcel):
            at.value = number
            if number >= most.value:
                break
            function = functions[name]
            arguments: List[Any] = [body]
            if function.wants_context:
                arguments.append(Context(task, key, attempt, name, partial(outbox.note, number, key)))
            if function.is_async:
                outbox.add(run(lambda call=function.call, given=arguments: asyncio.run(call(*given))))
            else:
                outbox.add(run(function.call, *arguments))
        outbox.end()
