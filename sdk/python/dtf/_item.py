"""Items, and running functions on them."""

from __future__ import annotations

import json
import threading
import traceback
from dataclasses import dataclass
from typing import Any, Callable, Optional, Tuple

from .errors import Cancelled, FinalError

#: The most bytes of a result that a gateway takes.
MAX_RESULT = 1024 * 1024
#: The most characters of an error that a gateway keeps.
MAX_ERROR = 4096


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


class Context:
    """Tells a function about the item that it runs on."""

    def __init__(self, task: int, key: str, attempt: int, function: str) -> None:
        #: The id of the task.
        self.task = task
        #: The idempotency key: the same for every attempt at the item.
        self.key = key
        #: The number of earlier attempts that failed.
        self.attempt = attempt
        #: The name of the function.
        self.function = function
        self._cancelled = threading.Event()

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


class Item:
    """An item that the worker has: it waits, runs, or has ended and is not reported yet."""

    __slots__ = (
        "ticket", "function", "body", "task", "key", "attempt", "timeout", "session", "given",
        "deadline", "over", "released", "report", "succeeded", "context", "stop",
    )  # fmt: skip

    def __init__(self, raw: Any, function: Optional[Function], session: str, now: float) -> None:
        self.ticket: str = raw["ticket"]
        self.function = function
        self.body = raw["body"]
        self.task: int = raw["task"]
        self.key: str = raw["key"]
        self.attempt: int = raw["attempt"]
        self.timeout: float = raw["timeout_ms"] / 1000
        if function is not None and function.timeout is not None and function.timeout < self.timeout:
            self.timeout = function.timeout
        #: The session that it was given to.
        self.session = session
        self.given = now
        #: The time at which it is stopped; none while it waits for a slot.
        self.deadline: Optional[float] = None
        #: True once it has an outcome, or is not wanted any more.
        self.over = False
        #: True once it takes no slot any more.
        self.released = False
        #: The report on it, as JSON.
        self.report = b""
        self.succeeded = False
        self.context: Optional[Context] = None
        #: Stops the function where that is possible.
        self.stop: Optional[Callable[[], Any]] = None

    def new_context(self) -> Context:
        """Returns the context for the function."""
        name = self.function.name if self.function else ""
        self.context = Context(self.task, self.key, self.attempt, name)
        return self.context

    def cancel(self) -> None:
        """Tells the function that the item is not wanted any more, and stops it where that is possible."""
        if self.context is not None:
            self.context._cancelled.set()
        if self.stop is not None:
            self.stop()

    def fail(self, message: str, retryable: bool) -> bytes:
        """Returns the report of a failure."""
        most = self.function.retries if self.function else None
        if most is not None and self.attempt >= most:
            retryable = False
        message = message.encode("utf-8", "replace").decode()[:MAX_ERROR]
        return json.dumps({"ticket": self.ticket, "error": message, "retryable": retryable}).encode()

    def ends(self, result: Optional[bytes], error: str, retryable: bool) -> bytes:
        """Returns the report of an outcome."""
        if result is None:
            return self.fail(error, retryable)
        return b'{"ticket":"%b","result":%b}' % (self.ticket.encode(), result)


#: The JSON of a result, or none; and the error, and whether another attempt may succeed.
Outcome = Tuple[Optional[bytes], str, bool]


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


def encode(value: Any) -> Outcome:
    """Returns the outcome of a function that returned a value: one that is no JSON is an error that no attempt can mend."""
    if value is None:
        return b"null", "", False
    try:
        data = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        return None, f"the result is no JSON: {error}; return numbers, strings, booleans, None, lists and dicts of these", False
    if len(data) > MAX_RESULT:
        return None, f"the result has {len(data)} bytes; at most {MAX_RESULT} are taken; store it and return where it is", False
    return data, "", False
