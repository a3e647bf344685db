"""Tasks as the API shows them, and keys of which there is one at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Sequence


@dataclass(frozen=True)
class Progress:
    """The number of a task's items by outcome."""

    created: int = 0
    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        """The number of items that have an outcome."""
        return self.succeeded + self.failed + self.timed_out + self.cancelled


@dataclass(frozen=True)
class Task:
    """A task, as it was when it was asked for. ``raw`` has all fields of the answer."""

    id: int
    type: str
    name: str
    group: str
    #: ``created``, ``running``, ``paused``, ``cancelled``, ``completed``, ``exceptional`` or ``skipped``.
    status: str
    reason: str
    progress: Progress
    #: The conditions that it waits for, such as a worker that has its function.
    blocked_on: Sequence[str]
    raw: Dict[str, Any] = field(repr=False)

    @property
    def has_ended(self) -> bool:
        """True if its books are closed."""
        return self.raw.get("finished_at") is not None

    @staticmethod
    def of(raw: Dict[str, Any]) -> Task:
        """Returns the task of an answer."""
        counts = raw.get("progress") or {}
        progress = Progress(*(counts.get(name, 0) for name in Progress.__dataclass_fields__))
        return Task(
            id=raw["id"],
            type=raw["type"],
            name=raw["name"],
            group=raw["group"],
            status=raw["status"],
            reason=raw["reason"],
            progress=progress,
            blocked_on=raw.get("blocked_on", []),
            raw=raw,
        )


@dataclass(frozen=True)
class Failure:
    """An item that failed for good."""

    seq: int
    error: str
    timed_out: bool
    #: The item as text, where the service kept it.
    body: Optional[str]


@dataclass(frozen=True)
class Unique:
    """A key that no other task has for a time. Creating again meanwhile returns the task that has it."""

    key: str
    #: ``pending`` (until its first run begins), ``running`` (until it ends) or ``period`` (for ``period`` seconds from its creation).
    scope: str = "running"
    period: Optional[float] = None

    def describe(self) -> Dict[str, Any]:
        """Returns the key as the API takes it."""
        period = {} if self.period is None else {"period_ms": round(self.period * 1000)}
        return {"key": self.key, "while": self.scope, **period}
