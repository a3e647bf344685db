"""The slots of a worker, in which functions run: threads, or tasks of asyncio.

What waits for a slot is in a deque that slots take from without a lock; whoever takes an item from it has it alone.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from functools import partial
from typing import Deque, Dict, List, Optional, Protocol, Set

from ._item import Item, Note, Outcome, encode, failure, run

#: The number of coroutines after which a slot lets others run, where none of them waits.
YIELD = 32


class Host(Protocol):
    """The engine, as slots see it."""

    def begin(self, item: Item) -> bool:
        """Returns false if the item need not be run any more."""

    def end(self, item: Item, outcome: Outcome) -> None:
        """Takes the outcome of an item, whose slot is free again."""

    def tell(self, item: Item, note: Note) -> None:
        """Takes what a function says of its item."""

    def freed(self) -> None:
        """Hears that a slot is free whose last item had ended before."""


class Slot:
    """A slot. What it has is read by others."""

    #: The item that runs in it.
    item: Optional[Item] = None
    #: True while it waits for items.
    rests = False
    #: True once it was given up, because a function does not return.
    lost = False
    thread: threading.Thread


class Slots(Protocol):
    """Runs functions on items."""

    #: The items that wait for a slot.
    waiting: Deque[Item]

    def submit(self, items: List[Item]) -> None:
        """Runs items as soon as slots are free."""

    def running(self) -> List[Item]:
        """Returns the items that run."""

    def overdue(self, now: float) -> List[Item]:
        """Returns the items whose time is over."""

    def abandon(self, item: Item) -> None:
        """Goes on without waiting for an item that was cancelled and does not end."""

    def close(self) -> None:
        """Ends the slots that are free."""


def overdue(running: List[Item], now: float) -> List[Item]:
    """Returns the items that have run for longer than they may."""
    return [item for item in running if item.began and item.began + item.timeout <= now]


class ThreadSlots:
    """Runs each item in one of some threads. A function that does not return in time keeps its thread; another one takes its place."""

    def __init__(self, host: Host, concurrency: int) -> None:
        self._host = host
        self.waiting: Deque[Item] = deque()
        #: Wakes slots that rest; none ends one.
        self._calls: queue.SimpleQueue[Optional[bool]] = queue.SimpleQueue()
        self._slots: List[Slot] = []
        for _ in range(concurrency):
            self._add()

    def _add(self) -> None:
        slot = self._new_slot()
        self._slots.append(slot)
        slot.thread = threading.Thread(target=self._loop, args=(slot,), name="dtf-slot", daemon=True)
        slot.thread.start()

    def _new_slot(self) -> Slot:
        return Slot()

    def submit(self, items: List[Item]) -> None:
        self.waiting.extend(items)
        resting = sum(slot.rests for slot in self._slots)
        for _ in range(min(resting, len(items))):
            self._calls.put(True)

    def running(self) -> List[Item]:
        items = [slot.item for slot in self._slots]
        return [item for item in items if item is not None]

    def overdue(self, now: float) -> List[Item]:
        return overdue(self.running(), now)

    def abandon(self, item: Item) -> None:
        for slot in self._slots:
            if slot.item is item:
                slot.lost = True
                self._slots.remove(slot)
                return self._add()

    def close(self) -> None:
        for _ in self._slots:
            self._calls.put(None)

    def _loop(self, slot: Slot) -> None:
        take, host = self.waiting.popleft, self._host
        while not slot.lost:
            try:
                item = take()
            except IndexError:
                if not self._rest(slot):
                    return
                continue
            slot.item = item
            if host.begin(item):
                outcome = self._call(item)
                slot.item = None
                host.end(item, outcome)
            slot.item = None

    def _rest(self, slot: Slot) -> bool:
        """Waits for items. Returns false at the end of the worker."""
        slot.rests = True
        # What came before others could see that it rests.
        goes_on = bool(self.waiting) or self._calls.get() is not None
        slot.rests = False
        return goes_on

    def _call(self, item: Item) -> Outcome:
        function = item.function
        assert function is not None
        if function.wants_context:
            return run(function.call, item.raw["body"], item.new_context(self._host.tell))
        return run(function.call, item.raw["body"])


class AsyncSlots:
    """Runs coroutines as tasks of one event loop, in a thread of its own. Each slot is a task, which is cancelled with its item."""

    def __init__(self, host: Host, concurrency: int) -> None:
        self._host = host
        self._loop = asyncio.new_event_loop()
        self.waiting: Deque[Item] = deque()
        self._resting: Deque[asyncio.Future[None]] = deque()
        self._closed: asyncio.Event
        self._slots: Set[asyncio.Task[None]] = set()
        self._at: Dict[asyncio.Task[None], Item] = {}
        started = threading.Event()
        threading.Thread(target=self._serve, args=(started, concurrency), name="dtf-asyncio", daemon=True).start()
        started.wait()

    def _serve(self, started: threading.Event, concurrency: int) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main(started, concurrency))

    async def _main(self, started: threading.Event, concurrency: int) -> None:
        self._closed = asyncio.Event()
        for _ in range(concurrency):
            self._add()
        started.set()
        await self._closed.wait()
        for slot in self._slots:
            slot.cancel()
        await asyncio.wait(self._slots, timeout=1.0)

    def _add(self) -> None:
        slot = self._loop.create_task(self._slot())
        self._slots.add(slot)
        slot.add_done_callback(self._slots.discard)

    def submit(self, items: List[Item]) -> None:
        self.waiting.extend(items)
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for _ in range(min(len(self.waiting), len(self._resting))):
            rest = self._resting.popleft()
            if not rest.done():
                rest.set_result(None)

    def running(self) -> List[Item]:
        return list(self._at.values())

    def overdue(self, now: float) -> List[Item]:
        return overdue(self.running(), now)

    def abandon(self, item: Item) -> None:
        for slot, held in list(self._at.items()):
            if held is item:
                del self._at[slot]
                self._loop.call_soon_threadsafe(self._add)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._closed.set)

    async def _slot(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        count = 0
        while not self._closed.is_set():
            count += 1
            if count % YIELD == 0:
                await asyncio.sleep(0)
            try:
                item = self.waiting.popleft()
            except IndexError:
                rest = self._loop.create_future()
                self._resting.append(rest)
                await rest
                continue
            self._at[me] = item
            item.stop = partial(self._loop.call_soon_threadsafe, self._cancel, me, item)
            if not self._host.begin(item):
                del self._at[me]
                continue
            outcome = await self._call(me, item)
            if self._at.pop(me, None) is None:
                return  # It was given up, and another one has taken its place.
            self._host.end(item, outcome)

    async def _call(self, me: asyncio.Task[None], item: Item) -> Outcome:
        function = item.function
        assert function is not None
        try:
            if function.wants_context:
                return encode(await function.call(item.raw["body"], item.new_context(self._host.tell)))
            return encode(await function.call(item.raw["body"]))
        except asyncio.CancelledError:
            if hasattr(me, "uncancel"):  # Since Python 3.11.
                me.uncancel()
            return None, "the function was cancelled", True
        except BaseException as error:  # noqa: B036 - a worker outlives its functions, whatever they raise.
            return failure(error)

    def _cancel(self, slot: asyncio.Task[None], item: Item) -> None:
        if self._at.get(slot) is item:
            slot.cancel()
