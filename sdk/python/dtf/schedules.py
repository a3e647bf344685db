"""Schedules: tasks and flows that are created again and again."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional, Sequence
from urllib.parse import quote

from .flows import FlowBuilder
from .task import Task

if TYPE_CHECKING:
    from .client import Client


@dataclass(frozen=True)
class Schedule:
    """A schedule, as it was when it was asked for. ``raw`` has all fields of the answer."""

    name: str
    when: str
    #: ``when`` in words.
    words: str
    zone: str
    paused: bool
    #: The next ten due times in milliseconds since the Unix epoch.
    upcoming: Sequence[int]
    raw: Dict[str, Any] = field(repr=False)

    @staticmethod
    def of(raw: Dict[str, Any]) -> Schedule:
        """Returns the schedule of an answer."""
        return Schedule(raw["name"], raw["when"], raw["words"], raw["zone"], raw["paused"], raw["upcoming"], raw)


class Schedules:
    """The schedules of a service, as :attr:`Client.schedules`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(
        self,
        name: str,
        when: str,
        *,
        task: Optional[Dict[str, Any]] = None,
        flow: Optional[FlowBuilder] = None,
        zone: str = "UTC",
        overlap: str = "skip",
        **fields: Any,
    ) -> Schedule:
        """Creates a schedule, and returns it.

        ``when`` is a cron expression, ``@daily`` or the like, or an interval such as ``@every 90s``. Each due time creates the task, such
        as ``{"type": "noop", "param": {"count": 10}}``, or the flow; in texts of a ``param``, ``{{due}}`` is the due time. ``overlap``
        says what happens while a task of the schedule has not ended: ``skip``, ``queue_one``, ``allow`` or ``cancel_other``. ``fields`` are
        further ones: ``description``, ``catch_up_ms``, ``jitter_ms``, ``start_at``, ``end_at``.
        """
        if (task is None) == (flow is None):
            raise ValueError(f"schedule {name!r} has {'no task and no flow' if task is None else 'a task and a flow'}; give it one of them")
        what: Dict[str, Any] = {"task": task} if flow is None else {"flow": flow.describe()}
        body = {"name": name, "when": when, "zone": zone, "overlap": overlap, **what, **fields}
        return Schedule.of(self._client._send("POST", "/v1/schedules", body, key=uuid.uuid4()))

    def get(self, name: str) -> Schedule:
        """Returns a schedule."""
        return Schedule.of(self._client._send("GET", path_of(name)))

    def list(self) -> Iterator[Schedule]:
        """Returns the schedules, by name."""
        for raw in self._client._pages("/v1/schedules", "schedules", {}):
            yield Schedule.of(raw)

    def pause(self, name: str) -> Schedule:
        """Has due times pass without effect, and returns the schedule."""
        return Schedule.of(self._client._act(path_of(name), "pause"))

    def resume(self, name: str) -> Schedule:
        """Resumes a paused schedule, and returns it."""
        return Schedule.of(self._client._act(path_of(name), "resume"))

    def trigger(self, name: str) -> Task:
        """Creates a task of a schedule at once, and returns it; of a flow, its first one."""
        return Task.of(self._client._send("POST", path_of(name) + "/trigger", key=uuid.uuid4()))

    def backfill(self, name: str, start: int, until: int, *, concurrency: int = 1) -> Schedule:
        """Has the tasks of a period's due times created that are missing, so many at once.

        Times are in milliseconds since the Unix epoch.
        """
        body = {"from": start, "until": until, "concurrency": concurrency}
        return Schedule.of(self._client._send("POST", path_of(name) + "/backfill", body))

    def delete(self, name: str) -> None:
        """Deletes a schedule; its tasks stay."""
        self._client._send("DELETE", path_of(name))


def path_of(name: str) -> str:
    """Returns the path of a schedule."""
    return f"/v1/schedules/{quote(name, safe='')}"
