"""The slots of a worker, in which functions run: threads, processes, or tasks of asyncio.

What waits for a slot is in a deque that slots take from without a lock; whoever takes an item from it has it alone.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import signal
import threading
from collections import deque
from functools import partial
from typing import Any, Deque, Dict, List, Optional, Protocol, Set

from ._item import Context, Function, Item, Note, Outcome, encode, failure, run

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

    def abandon(self, item: Item) -> None:
        """Goes on without waiting for an item that was cancelled and does not end."""

    def close(self) -> None:
        """Ends the slots that are free."""


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
        slot = Slot()
        self._slots.append(slot)
        slot.thread = threading.Thread(target=self._loop, args=(slot,), name="dtf-slot", daemon=True)
        slot.thread.start()

    def submit(self, items: List[Item]) -> None:
        self.waiting.extend(items)
        resting = sum(slot.rests for slot in self._slots)
        for _ in range(min(resting, len(items))):
            self._calls.put(True)

    def running(self) -> List[Item]:
        items = [slot.item for slot in self._slots]
        return [item for item in items if item is not None]

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
        self.prepare(slot)
        while not slot.lost:
            try:
                item = take()
            except IndexError:
                if not self._rest(slot):
                    return
                continue
            self.prepare(slot, item)
            slot.item = item
            if host.begin(item):
                outcome = self.call(slot, item)
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

    def prepare(self, slot: Slot, item: Optional[Item] = None) -> None:
        """Makes a slot ready, for an item whose time has not begun if there is one."""

    def call(self, slot: Slot, item: Item) -> Outcome:
        """Calls the function."""
        function = item.function
        assert function is not None
        if function.wants_context:
            return run(function.call, item.raw["body"], item.new_context(self._host.tell))
        return run(function.call, item.raw["body"])


class ProcessSlots(ThreadSlots):
    """Runs each item in one of some processes. A function that does not return in time is killed with its process."""

    def __init__(self, host: Host, concurrency: int, functions: Dict[str, Function]) -> None:
        self._functions = functions
        self._children: Dict[Slot, _Child] = {}
        super().__init__(host, concurrency)

    def abandon(self, item: Item) -> None:
        """Nothing to do: its process was killed."""

    def close(self) -> None:
        super().close()
        # A process that begins at this moment belongs to its thread.
        for slot in self._slots:
            slot.thread.join(5)
        for child in list(self._children.values()):
            child.close()

    def prepare(self, slot: Slot, item: Optional[Item] = None) -> None:
        child = self._children.get(slot)
        if child is None or not child.is_alive():
            child = self._children[slot] = _Child(self._functions)
        if item is not None:
            item.stop = child.kill

    def call(self, slot: Slot, item: Item) -> Outcome:
        return self._children[slot].run(item, self._host)


class _Child:
    """A process that runs functions."""

    def __init__(self, functions: Dict[str, Function]) -> None:
        # Forking a process that has threads may deadlock.
        spawn = multiprocessing.get_context("spawn")
        self._pipe, other = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(other, functions), name="dtf-slot", daemon=True)
        self._process.start()
        other.close()

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        self._process.kill()

    def run(self, item: Item, host: Host) -> Outcome:
        assert item.function is not None
        key = item.raw["key"]
        try:
            self._pipe.send((item.function.name, item.raw["body"], item.raw["task"], key, item.raw["attempt"]))
            while True:
                about, note, outcome = self._pipe.recv()
                if outcome is not None:
                    ended: Outcome = outcome
                    return ended
                # A thread that outlives its function may say something late.
                if about == key:
                    host.tell(item, note)
        except (EOFError, OSError):
            self._process.join()
            return None, f"the process that ran the function ended with exit code {self._process.exitcode}", True

    def close(self) -> None:
        self._pipe.close()
        self._process.join(5)
        self._process.kill()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _serve(pipe: Any, functions: Dict[str, Function]) -> None:
    # The parent is told to stop, and lets its children come to their end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    lock = threading.Lock()

    def send(key: str, note: Optional[Note], outcome: Optional[Outcome] = None) -> None:
        with lock:
            pipe.send((key, note, outcome))

    while True:
        try:
            name, body, task, key, attempt = pipe.recv()
        except (EOFError, OSError):
            return
        function = functions[name]
        arguments: List[Any] = [body]
        if function.wants_context:
            arguments.append(Context(task, key, attempt, name, partial(send, key)))
        if function.is_async:
            outcome = run(lambda call=function.call, given=arguments: asyncio.run(call(*given)))
        else:
            outcome = run(function.call, *arguments)
        send(key, None, outcome)


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
