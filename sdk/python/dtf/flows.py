"""Flows: several tasks that are created together and wait for each other."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Iterator, Mapping, Optional, Sequence, Union

from ._param import map_param
from .task import Task

if TYPE_CHECKING:
    from .client import Client

#: The time between two looks at a flow that is watched, in seconds.
PAUSE = 0.5


@dataclass(frozen=True)
class FlowCondition:
    """The end of a task of a flow that another one waits for."""

    task: str
    #: ``completed``, ``ended`` or ``failed``.
    when: str


@dataclass(frozen=True)
class FlowTask:
    """A task of a flow that is about to be created. As an element of ``after`` it stands for :attr:`completed`."""

    name: str

    @property
    def completed(self) -> FlowCondition:
        """It completes, and none of its items fails or times out."""
        return FlowCondition(self.name, "completed")

    @property
    def ended(self) -> FlowCondition:
        """It ends, however it does."""
        return FlowCondition(self.name, "ended")

    @property
    def failed(self) -> FlowCondition:
        """It ends as exceptional, or completes with items that failed or timed out."""
        return FlowCondition(self.name, "failed")

    def result(self, pointer: str = "") -> Dict[str, str]:
        """Returns what stands in a parameter for a part of this task's result, at most 64 KiB.

        The pointer is a JSON pointer into ``data`` of the result, as ``/succeeded``; the empty one is all of it. The task with the
        parameter must wait for this one.
        """
        if pointer and not pointer.startswith("/"):
            raise ValueError(f"{pointer!r} is no JSON pointer; write '' for all of the result, or /NAME for a part of it")
        return {"$result": pointer, "of": self.name}


#: What a task of a flow waits for: a condition, or a task that completes, by itself or by its name.
After = Union[FlowCondition, FlowTask, str]


class FlowBuilder:
    """A flow that is about to be created by :meth:`Flows.create`.

    >>> flow = FlowBuilder("nightly")
    >>> extract = flow.map("extract", "fetch", ["a", "b"])
    >>> load = flow.task("load", "noop", {"count": extract.result("/succeeded")}, after=[extract])
    >>> alarm = flow.task("alarm", "noop", {"count": 1}, after=[load.failed])

    A task waits for tasks that were added before it, so that none can wait for itself.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._tasks: Dict[str, Dict[str, Any]] = {}

    def task(self, name: str, type: str, param: Any = None, *, after: Sequence[After] = (), **fields: Any) -> FlowTask:
        """Adds a task of any type under a name that no other task of the flow has.

        ``fields`` are further ones of the task: ``description``, ``group``, ``priority``, ``timeout_ms``, ``start_at``, ``limits``.
        """
        if name in self._tasks:
            raise ValueError(f"task {name!r} is in the flow twice; give one of them another name")
        if isinstance(after, str):
            raise TypeError(f"after is the text {after!r}; it must be a list of tasks or conditions, such as [{after!r}]")
        waits = [self._condition(name, on) for on in after]
        self._tasks[name] = {"type": type, "param": param, **({"after": waits} if waits else {}), **fields}
        return FlowTask(name)

    def map(
        self,
        name: str,
        function: str,
        source: Union[Sequence[Any], Dict[str, Any]],
        *,
        after: Sequence[After] = (),
        sink: Union[str, Dict[str, Any]] = "count",
        attempts: int = 3,
        timeout: float = 300.0,
        **fields: Any,
    ) -> FlowTask:
        """Adds a task that runs a workers' function on every item of a source, as :meth:`Client.map` does.

        A part of an earlier task's result may be the list of a source: ``{"list": earlier.result("/names")}``.
        """
        return self.task(name, "map", map_param(function, source, sink, attempts, timeout), after=after, **fields)

    def describe(self) -> Dict[str, Any]:
        """Returns the flow as the API and ``dtf flow submit`` take it."""
        return {"name": self.name, "tasks": dict(self._tasks)}

    def _condition(self, task: str, on: After) -> Dict[str, str]:
        condition = FlowTask(on).completed if isinstance(on, str) else on.completed if isinstance(on, FlowTask) else on
        if condition.task not in self._tasks:
            earlier = ", ".join(self._tasks) or "none"
            raise ValueError(f"task {task!r} waits for {condition.task!r}, which is not in the flow yet; earlier tasks: {earlier}")
        return {"task": condition.task, "when": condition.when}


@dataclass(frozen=True)
class FlowCounts:
    """The number of a flow's tasks by state."""

    tasks: int = 0
    waiting: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class Flow:
    """A flow, as it was when it was asked for. ``raw`` has all fields of the answer."""

    id: int
    name: str
    counts: FlowCounts
    #: The flow whose failed tasks it runs again.
    retry_of: Optional[int]
    #: The tasks by their names in the flow; empty in lists of flows.
    tasks: Mapping[str, Task]
    raw: Dict[str, Any] = field(repr=False)

    @property
    def has_ended(self) -> bool:
        """True if all of its tasks have ended."""
        return self.counts.waiting + self.counts.running == 0

    @property
    def has_completed(self) -> bool:
        """True if all of its tasks have completed, with no item failed."""
        return self.counts.completed == self.counts.tasks

    @staticmethod
    def of(raw: Dict[str, Any]) -> Flow:
        """Returns the flow of an answer."""
        counts = FlowCounts(*(raw["counts"][name] for name in FlowCounts.__dataclass_fields__))
        tasks = {task["flow_task"]: Task.of(task) for task in raw.get("tasks", [])}
        return Flow(raw["id"], raw["name"], counts, raw.get("retry_of"), tasks, raw)


class Flows:
    """The flows of a service, as :attr:`Client.flows`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, flow: FlowBuilder) -> Flow:
        """Creates all tasks of a flow, or none, and returns the flow."""
        return Flow.of(self._client._send("POST", "/v1/flows", flow.describe(), key=uuid.uuid4()))

    def get(self, flow: int) -> Flow:
        """Returns a flow with its tasks."""
        return Flow.of(self._client._send("GET", f"/v1/flows/{flow}"))

    def list(self) -> Iterator[Flow]:
        """Returns the flows without their tasks, the newest first."""
        for raw in self._client._pages("/v1/flows", "flows", {}):
            yield Flow.of(raw)

    def pause(self, flow: int) -> Flow:
        """Pauses the tasks of a flow, and returns it."""
        return self._act(flow, "pause")

    def resume(self, flow: int) -> Flow:
        """Resumes the paused tasks of a flow, and returns it."""
        return self._act(flow, "resume")

    def cancel(self, flow: int) -> Flow:
        """Cancels the tasks of a flow that have not ended, and returns it."""
        return self._act(flow, "cancel")

    def retry(self, flow: int) -> Flow:
        """Creates a new flow of what failed in a flow and what was skipped behind it, and returns it."""
        return Flow.of(self._client._send("POST", f"/v1/flows/{flow}/retry", key=uuid.uuid4()))

    def watch(self, flow: int, timeout: Optional[float] = None) -> Iterator[Flow]:
        """Returns the flow whenever it has changed, at most twice a second; in the last one all tasks have ended.

        Raises ``TimeoutError`` where that is not so after so many seconds.
        """
        end, last = None if timeout is None else time.monotonic() + timeout, None
        while True:
            seen = self.get(flow)
            if seen != last:
                yield seen
            if seen.has_ended:
                return
            last = seen
            left = PAUSE if end is None else end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"flow {flow} has {seen.counts.waiting + seen.counts.running} tasks that run or wait after {timeout} s")
            time.sleep(min(PAUSE, left))

    def wait(self, flow: int, timeout: Optional[float] = None) -> Flow:
        """Waits until all tasks of a flow have ended, and returns it. Raises ``TimeoutError`` after so many seconds."""
        for seen in self.watch(flow, timeout):
            last = seen
        return last

    def _act(self, flow: int, action: str) -> Flow:
        return Flow.of(self._client._act(f"/v1/flows/{flow}", action))
