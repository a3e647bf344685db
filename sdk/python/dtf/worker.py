"""A worker: functions that a DTF service runs on the items of its tasks."""

from __future__ import annotations

import inspect
import os
import platform
import signal
import socket
import threading
from contextlib import contextmanager, nullcontext
from typing import Any, Callable, Dict, Iterator, Optional, Sequence, TypeVar, Union

from ._engine import MAX_ITEMS, Engine
from ._http import token_of, urls_of
from ._item import Function

F = TypeVar("F", bound=Callable[..., Any])


class Worker:
    """A worker.

    ``urls`` are gateways: processes of the service with the executor role. With several, the next one is tried when one does not answer.
    ``token`` defaults to the environment variable ``DTF_TOKEN``, ``name`` to the host's.
    """

    def __init__(
        self,
        urls: Union[str, Sequence[str]] = "http://127.0.0.1:7070",
        *,
        token: Optional[str] = None,
        name: Optional[str] = None,
        version: str = "",
    ) -> None:
        self._urls, self._token = urls_of(urls), token_of(token)
        self._name, self._version = name or socket.gethostname(), version
        self._functions: Dict[str, Function] = {}
        self._engine: Optional[Engine] = None

    def function(
        self, name: Optional[str] = None, *, timeout: Optional[float] = None, retries: Optional[int] = None
    ) -> Callable[[F], F]:
        """Offers a function, which stays as it is, under a name; its own by default.

        It is called with an item, and with a :class:`dtf.Context` if it has a second parameter without a default. What it returns is the
        result. What it raises is a failure: a final one if it is a :class:`dtf.FinalError`. It may be an ``async def``.

        ``timeout`` is the time for an item in seconds, at most the task's own. ``retries`` is the most attempts after the first one,
        within those that the task allows.
        """
        if timeout is not None and timeout <= 0:
            raise ValueError(f"timeout is {timeout}; it is a number of seconds above 0")
        if retries is not None and retries < 0:
            raise ValueError(f"retries is {retries}; it is 0 or more")

        def offer(call: F) -> F:
            offered = name or call.__name__
            if offered in self._functions:
                raise ValueError(f"the function {offered!r} is offered twice")
            self._functions[offered] = Function(
                offered, call, timeout, retries, _wants_context(call), inspect.iscoroutinefunction(call)
            )
            return call

        return offer

    def run(
        self, concurrency: int = 8, *, processes: bool = False, prefetch: Optional[int] = None, signals: bool = True
    ) -> None:
        """Runs until a signal, :meth:`stop`, or the service drains the worker; what runs then comes to its end first.

        ``concurrency`` is the number of items that run at once: in threads, or with ``processes=True`` in as many processes, which are
        killed where a function takes too long; those of an ``async def`` are tasks of one event loop. ``prefetch`` is the number of items
        that are fetched ahead; by default as many as run within 20 ms. ``signals=False`` leaves the handlers of SIGTERM and SIGINT alone.
        """
        if not self._functions:
            raise ValueError("the worker has no function; offer one with @worker.function(\"name\")")
        if not 1 <= concurrency <= MAX_ITEMS:
            raise ValueError(f"concurrency is {concurrency}; allowed is 1 to {MAX_ITEMS}")
        if prefetch is not None and not 0 <= prefetch <= MAX_ITEMS:
            raise ValueError(f"prefetch is {prefetch}; allowed is 0 to {MAX_ITEMS}")
        info = {
            "name": self._name[:128],
            "language": f"python {platform.python_version()}",
            "version": self._version[:128],
            "slots": concurrency,
        }
        self._engine = Engine(self._functions, self._urls, self._token, info, concurrency, processes, prefetch)
        handles = signals and threading.current_thread() is threading.main_thread()
        with _handled(self._engine) if handles else nullcontext():
            self._engine.run()

    def stop(self) -> None:
        """Has :meth:`run` end as after a signal. For other threads."""
        if self._engine is not None:
            self._engine.drain()


def _wants_context(call: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [given for given in parameters if given.kind in kinds and given.default is inspect.Parameter.empty]
    if not 1 <= len(needed) <= 2 and not any(given.kind is inspect.Parameter.VAR_POSITIONAL for given in parameters):
        raise TypeError(f"{call!r} takes {len(needed)} arguments; a function of a worker takes the item, and the context if it wants it")
    return len(needed) == 2


@contextmanager
def _handled(engine: Engine) -> Iterator[None]:
    """Drains the engine at the first signal, and ends the process at the second."""
    seen = 0

    def handle(number: int, _: Any) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            os._exit(128 + number)
        # The main thread may hold the engine's lock at this moment.
        threading.Thread(target=engine.drain, name="dtf-drain", daemon=True).start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
