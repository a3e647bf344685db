"""A client of the tasks of a DTF service."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, TypeVar, Union
from urllib.parse import urlencode

from ._http import TIMEOUT, Backoff, Connection, Pool, events, read, token_of, urls_of
from ._param import map_param
from .errors import ApiError, ConnectionFailed
from .flows import Flows
from .schedules import Schedules
from .task import Failure, Task, Unique

T = TypeVar("T")
#: The time between two looks for further results, in seconds.
PAUSE = 0.5
#: The most bytes of the items of a request.
FEED_BYTES = 4 * 1024 * 1024


class Client:
    """A client. It keeps its connections, and may be shared by threads.

    With several URLs it turns to the next one when a server does not answer. Requests are tried again, with growing pauses, for as long as
    ``retry_for`` seconds; creations carry a key, so that one that is sent twice creates one task.
    """

    def __init__(
        self,
        urls: Union[str, Sequence[str]] = "http://127.0.0.1:7070",
        *,
        token: Optional[str] = None,
        timeout: float = TIMEOUT,
        retry_for: float = 30.0,
    ) -> None:
        self._pool = Pool(urls_of(urls), token_of(token))
        self._timeout, self._retry_for = timeout, retry_for
        #: Tasks that are created together and wait for each other.
        self.flows = Flows(self)
        #: Tasks and flows that are created again and again.
        self.schedules = Schedules(self)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._pool.close()

    def map(
        self,
        function: str,
        source: Union[Sequence[Any], Dict[str, Any], str],
        *,
        sink: Union[str, Dict[str, Any]] = "count",
        attempts: int = 3,
        timeout: float = 300.0,
        **fields: Any,
    ) -> Task:
        """Creates a task that runs a workers' function on every item of a source, and returns it.

        The source is a list, a ``range``, a description such as ``{"lines": "/abs/path"}``, or ``"items"``, which are fed by
        :meth:`feed`. The sink is ``"count"``, ``"keep"`` or
        ``{"jsonl": "/abs/path"}``. ``timeout`` is the time for an item in seconds. ``fields`` are further ones of the task: ``name``,
        ``group``, ``priority``, ``limits``, ``start_at``, ``timeout_ms``, and those of :meth:`create`.
        """
        return self.create("map", map_param(function, source, sink, attempts, timeout), **fields)

    def create(
        self,
        type: str,
        param: Any = None,
        *,
        after: Sequence[Union[int, Dict[str, Any]]] = (),
        unique: Union[None, str, Unique] = None,
        **fields: Any,
    ) -> Task:
        """Creates a task of any type, and returns it.

        ``after`` are tasks that it waits for, by id or as ``{"task": 7, "when": "ended"}``. ``unique`` is a key of which there is one task
        at a time, a text or a :class:`Unique`; where a task has it already, that one is returned, and none is created.
        """
        body = {"type": type, "param": param, **fields}
        if after:
            body["after"] = [{"task": on} if isinstance(on, int) else on for on in after]
        if unique is not None:
            body["unique"] = (Unique(unique) if isinstance(unique, str) else unique).describe()
        return Task.of(self._send("POST", "/v1/tasks", body, key=uuid.uuid4()))

    def feed(
        self,
        task: int,
        items: Iterable[Any],
        *,
        producer: Optional[str] = None,
        offset: Optional[int] = None,
        batch: int = 1000,
    ) -> int:
        """Feeds items into a task whose source is ``"items"``, and returns the producer's offset behind them.

        Requests that are sent again add nothing twice. With a name of its own a ``producer`` that begins again goes on behind what it has
        fed, or at an ``offset``: items before those that the service has are passed over. While too many items wait, this waits, too.
        """
        if producer is None:
            if offset is not None:
                raise ValueError("an offset is one of a producer; give the producer's name as well")
            producer, offset = str(uuid.uuid4()), 0
        if offset is None:
            asked = urlencode({"producer": producer})
            offset = int(self._send("GET", f"/v1/tasks/{task}/items?{asked}")["next_offset"])
        lines: List[bytes] = []
        size = 0
        for item in items:
            line = json.dumps(item, ensure_ascii=False, allow_nan=False).encode()
            if lines and (len(lines) >= batch or size + len(line) >= FEED_BYTES):
                offset = self._feed(task, producer, offset, lines)
                lines, size = [], 0
            lines.append(line)
            size += len(line) + 1
        return self._feed(task, producer, offset, lines) if lines else offset

    def close_task(self, task: int) -> Task:
        """Says that no more items are fed, and returns the task: it ends when those that were fed are done."""
        return self._act_on(task, "close")

    def get(self, task: int) -> Task:
        """Returns a task."""
        return Task.of(self._send("GET", f"/v1/tasks/{task}"))

    def list(self, **filters: Any) -> Iterator[Task]:
        """Returns the tasks, the newest first. Filters: ``status``, ``type``, ``group``, ``name``, ``name_prefix``."""
        for raw in self._pages("/v1/tasks", "tasks", filters):
            yield Task.of(raw)

    def pause(self, task: int) -> Task:
        """Pauses a task, and returns it."""
        return self._act_on(task, "pause")

    def resume(self, task: int) -> Task:
        """Resumes a paused task, and returns it."""
        return self._act_on(task, "resume")

    def cancel(self, task: int) -> Task:
        """Cancels a task, and returns it."""
        return self._act_on(task, "cancel")

    def retry(self, task: int) -> Task:
        """Creates a new task of the items of a task that failed, and returns it."""
        return Task.of(self._send("POST", f"/v1/tasks/{task}/retry", key=uuid.uuid4()))

    def watch(self, task: int) -> Iterator[Task]:
        """Returns the task whenever it has changed, at most twice a second; the last one has ended."""
        backoff, last = Backoff(), None
        while True:
            try:
                for seen in self._events(task):
                    backoff.reset()
                    if seen != last:
                        yield seen
                    if seen.has_ended:
                        return
                    last = seen
            except ApiError as error:
                if not error.is_retryable:
                    raise
            except ConnectionFailed:
                pass
            time.sleep(backoff.next())

    def wait(self, task: int, timeout: Optional[float] = None) -> Task:
        """Waits until a task has ended, and returns it. Raises ``TimeoutError`` after so many seconds."""
        if timeout is None:
            return list_last(self.watch(task))
        end, pause = time.monotonic() + timeout, 0.02
        while True:
            seen = self.get(task)
            if seen.has_ended:
                return seen
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"task {task} is {seen.status} after {timeout} s")
            time.sleep(min(pause, left))
            pause = min(0.5, pause * 1.5)

    def result(self, task: int) -> Any:
        """Returns the result of a task that has completed: ``code``, ``reason`` and ``data``; ``None`` before."""
        return self._send("GET", f"/v1/tasks/{task}/result")

    def results(self, task: int, *, page: int = 1000) -> Iterator[Any]:
        """Returns the kept results of a task, in the order in which they were collected, to its end. Its sink must be ``keep``."""
        first = 0
        while True:
            answer = self._send("GET", f"/v1/tasks/{task}/results?from={first}&limit={page}")
            for result in answer["results"]:
                yield result["value"]
                first = result["number"] + 1
            if not answer["more"]:
                return
            if not answer["results"]:
                time.sleep(PAUSE)

    def failures(self, task: int, *, page: int = 1000) -> Iterator[Failure]:
        """Returns the items of a task that failed for good."""
        after: Dict[str, Any] = {}
        while True:
            query = urlencode({**after, "limit": page})
            answer = self._send("GET", f"/v1/tasks/{task}/failures?{query}")
            for raw in answer["failures"]:
                yield Failure(raw["seq"], raw["error"], raw["timed_out"], raw.get("body"))
                after = {"after_epoch": raw["epoch"], "after_seq": raw["seq"]}
            if not answer["more"]:
                return

    def _feed(self, task: int, producer: str, offset: int, lines: List[bytes]) -> int:
        path = f"/v1/tasks/{task}/items?" + urlencode({"producer": producer, "offset": offset})
        data, headers = b"\n".join(lines), {"Content-Type": "application/x-ndjson"}
        while True:
            try:
                self._try(lambda connection: connection.call("POST", path, data, headers, self._timeout))
                return offset + len(lines)
            except ApiError as error:
                # It is full for as long as its items take.
                if error.code != "full":
                    raise

    def _act_on(self, task: int, action: str) -> Task:
        return Task.of(self._act(f"/v1/tasks/{task}", action))

    def _act(self, path: str, action: str) -> Any:
        sent = 0

        def act(connection: Connection) -> Any:
            nonlocal sent
            sent += 1
            return connection.call("POST", f"{path}/{action}", timeout=self._timeout)

        try:
            return self._try(act)
        except ApiError as error:
            # The answer to an earlier try was lost: this says only that it has been done.
            if error.code == "not_allowed" and sent > 1:
                return self._send("GET", path)
            raise

    def _pages(self, path: str, what: str, filters: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
        cursor = None
        while True:
            page = self._send("GET", f"{path}?" + urlencode({**filters, **({} if cursor is None else {"cursor": cursor})}))
            yield from page[what]
            cursor = page.get("next")
            if cursor is None:
                return

    def _send(self, method: str, path: str, body: Any = None, key: Optional[uuid.UUID] = None) -> Any:
        data = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        headers = {} if key is None else {"Idempotency-Key": str(key)}
        return self._try(lambda connection: connection.call(method, path, data, headers, self._timeout))

    def _try(self, send: Callable[[Connection], T]) -> T:
        backoff, end = Backoff(), time.monotonic() + self._retry_for
        while True:
            at, connection = self._pool.take()
            try:
                answer = send(connection)
                self._pool.put(at, connection)
                return answer
            except ConnectionFailed as failed:
                connection.close()
                self._pool.failed(at)
                error: Exception = failed
            except ApiError as failed:
                self._pool.put(at, connection)
                if not failed.is_retryable:
                    raise
                error = failed
            pause = backoff.next(error)
            if time.monotonic() + pause > end:
                raise error
            time.sleep(pause)

    def _events(self, task: int) -> Iterator[Task]:
        at, connection = self._pool.take()
        try:
            response = connection.open("GET", f"/v1/tasks/{task}/events", None, {"Accept": "text/event-stream"}, 60.0)
            if response.status >= 400:
                read(response, response.read())
            for name, data in events(response):
                if name == "error":
                    problem = json.loads(data)
                    raise ApiError(problem["code"], problem["detail"], problem["status"])
                yield Task.of(json.loads(data))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ConnectionFailed(f"the events of task {task} broke off: {error!r}") from error
        except ConnectionFailed:
            self._pool.failed(at)
            raise
        finally:
            connection.close()


def list_last(tasks: Iterator[Task]) -> Task:
    """Returns the last one of the states of a task."""
    seen: List[Task] = []
    for task in tasks:
        seen = [task]
    return seen[0]
