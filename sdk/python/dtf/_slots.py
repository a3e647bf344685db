"""The slots of a worker, in which functions run: threads, processes, or tasks of asyncio."""

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

from ._item import Context, Function, Item, Outcome, encode, failure, run


class Host(Protocol):
    """The engine, as slots see it."""

    def begin(self, item: Item) -> bool:
        """Returns false if the item need not be run any more."""

    def end(self, item: Item, outcome: Outcome) -> bool:
        """Takes the outcome of an item. Returns false if its slot was given up meanwhile."""


class Slots(Protocol):
    """Runs functions on items."""

    def submit(self, item: Item) -> None:
        """Runs an item as soon as a slot is free."""

    def abandon(self, item: Item) -> None:
        """Goes on without waiting for an item that was cancelled and does not end."""

    def close(self) -> None:
        """Ends the slots that are free."""


class ThreadSlots:
    """Runs each item in one of some threads. A function that does not return in time keeps its thread; another one takes its place."""

    def __init__(self, host: Host, concurrency: int) -> None:
        self._host = host
        self._queue: queue.SimpleQueue[Optional[Item]] = queue.SimpleQueue()
        self._count = concurrency
        for _ in range(concurrency):
            self._add()

    def _add(self) -> None:
        threading.Thread(target=self._loop, name="dtf-slot", daemon=True).start()

    def submit(self, item: Item) -> None:
        self._queue.put(item)

    def abandon(self, item: Item) -> None:
        self._add()

    def close(self) -> None:
        for _ in range(self._count):
            self._queue.put(None)

    def _loop(self) -> None:
        get, host = self._queue.get, self._host
        while True:
            item = get()
            if item is None:
                return
            function = item.function
            assert function is not None
            context = item.new_context() if function.wants_context else None
            if not host.begin(item):
                continue
            if context is None:
                outcome = run(function.call, item.body)
            else:
                outcome = run(function.call, item.body, context)
            if not host.end(item, outcome):
                return


class ProcessSlots:
    """Runs each item in one of some processes. A function that does not return in time is killed with its process."""

    def __init__(self, host: Host, concurrency: int, functions: Dict[str, Function]) -> None:
        self._host = host
        self._functions = functions
        self._queue: queue.SimpleQueue[Optional[Item]] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._loop, name="dtf-slot", daemon=True) for _ in range(concurrency)]
        for thread in self._threads:
            thread.start()

    def submit(self, item: Item) -> None:
        self._queue.put(item)

    def abandon(self, item: Item) -> None:
        """Nothing to do: its process was killed."""

    def close(self) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(5)

    def _loop(self) -> None:
        child = _Child(self._functions)
        while True:
            item = self._queue.get()
            if item is None:
                break
            if not child.is_alive():
                child = _Child(self._functions)
            item.stop = child.kill
            if self._host.begin(item):
                self._host.end(item, child.run(item))
        child.close()


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

    def run(self, item: Item) -> Outcome:
        assert item.function is not None
        try:
            self._pipe.send((item.function.name, item.body, item.task, item.key, item.attempt))
            outcome: Outcome = self._pipe.recv()
            return outcome
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
    while True:
        try:
            name, body, task, key, attempt = pipe.recv()
        except (EOFError, OSError):
            return
        function = functions[name]
        arguments: List[Any] = [body]
        if function.wants_context:
            arguments.append(Context(task, key, attempt, name))
        if function.is_async:
            pipe.send(run(lambda call=function.call, given=arguments: asyncio.run(call(*given))))
        else:
            pipe.send(run(function.call, *arguments))


class AsyncSlots:
    """Runs coroutines as tasks of one event loop, in a thread of its own. Each slot is a task, which is cancelled with its item."""

    def __init__(self, host: Host, concurrency: int) -> None:
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._queue: asyncio.Queue[Item]
        self._closed: asyncio.Event
        #: Items on their way to the loop, which is woken once for all of them.
        self._submitted: Deque[Item] = deque()
        self._slots: Set[asyncio.Task[None]] = set()
        self._at: Dict[asyncio.Task[None], Item] = {}
        started = threading.Event()
        threading.Thread(target=self._serve, args=(started, concurrency), name="dtf-asyncio", daemon=True).start()
        started.wait()

    def _serve(self, started: threading.Event, concurrency: int) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main(started, concurrency))

    async def _main(self, started: threading.Event, concurrency: int) -> None:
        self._queue, self._closed = asyncio.Queue(), asyncio.Event()
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

    def submit(self, item: Item) -> None:
        self._submitted.append(item)
        if len(self._submitted) == 1:
            self._loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        while self._submitted:
            self._queue.put_nowait(self._submitted.popleft())

    def abandon(self, item: Item) -> None:
        self._loop.call_soon_threadsafe(self._add)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._closed.set)

    async def _slot(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        while not self._closed.is_set():
            item = await self._queue.get()
            function = item.function
            assert function is not None
            context = item.new_context() if function.wants_context else None
            self._at[me] = item
            item.stop = partial(self._loop.call_soon_threadsafe, self._cancel, me, item)
            if not self._host.begin(item):
                continue
            try:
                value = await (function.call(item.body) if context is None else function.call(item.body, context))
                outcome = encode(value)
            except asyncio.CancelledError:
                outcome = None, "the function was cancelled", True
                if hasattr(me, "uncancel"):  # Since Python 3.11.
                    me.uncancel()
            except BaseException as error:  # noqa: B036 - a worker outlives its functions, whatever they raise.
                outcome = failure(error)
            del self._at[me]
            if not self._host.end(item, outcome):
                return

    def _cancel(self, slot: asyncio.Task[None], item: Item) -> None:
        if self._at.get(slot) is item:
            slot.cancel()
