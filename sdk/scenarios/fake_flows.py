"""The flows and schedules of the fake gateway.

Waiting tasks are looked at whenever one has ended: those whose conditions are met begin, those of which one can no longer be met are
skipped. Schedules are kept, and create tasks when they are triggered; no time is due for them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Optional

if TYPE_CHECKING:
    from fake_gateway import Gateway, Task

ENDED = ("completed", "cancelled", "exceptional", "skipped")


@dataclass
class Flow:
    """A flow and its tasks by name."""

    id: int
    name: str
    tasks: Dict[str, Task]
    retry_of: Optional[int] = None
    created_at: int = field(default_factory=lambda: int(time.time() * 1000))

    def summary(self) -> Dict[str, Any]:
        states = [state_of(task) for task in self.tasks.values()]
        names = ("waiting", "running", "completed", "failed", "cancelled", "skipped")
        counts = {"tasks": len(states), **{name: states.count(name) for name in names}}
        return {"id": self.id, "name": self.name, "retry_of": self.retry_of, "created_at": self.created_at, "counts": counts}

    def view(self) -> Dict[str, Any]:
        edges = [
            {"task": task.id, "on": self.tasks[on["task"]].id, "when": on["when"]} for task in self.tasks.values() for on in task.after
        ]
        return {**self.summary(), "tasks": [task.view() for task in self.tasks.values()], "edges": edges}


def state_of(task: Task) -> str:
    """Returns the state under which a flow counts a task."""
    if task.waits:
        return "waiting"
    if task.status not in ENDED:
        return "running"
    if task.status == "exceptional" or (task.status == "completed" and task.failed + task.timed_out):
        return "failed"
    return task.status


def is_met(task: Task, when: str) -> Optional[bool]:
    """Says if a condition on the end of a task is met; nothing where that is not known yet."""
    state = state_of(task)
    return None if state in ("waiting", "running") else when == "ended" or state == when


def filled(value: Any, flow: Flow, after: List[Dict[str, str]]) -> Any:
    """Returns a parameter with parts of results in it."""
    if isinstance(value, list):
        return [filled(one, flow, after) for one in value]
    if not isinstance(value, dict):
        return value
    if "$result" not in value:
        return {name: filled(one, flow, after) for name, one in value.items()}
    part = flow.tasks[value.get("of") or after[0]["task"]].view()["result"]["data"]
    for step in value["$result"].split("/")[1:]:
        part = part[int(step) if isinstance(part, list) else step]
    return part


class Flows:
    """The flows of a gateway. Calls are made under its lock."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.flows: Dict[int, Flow] = {}

    def create(self, new: Dict[str, Any], key: Optional[str], retry_of: Optional[int] = None) -> Dict[str, Any]:
        known = self.gateway.flow_keys.get(key or "")
        if known:
            return self.flows[known].view()
        flow = Flow(len(self.flows) + 1, new.get("name", ""), {}, retry_of)
        for name, one in new["tasks"].items():
            after = [{"task": on, "when": "completed"} if isinstance(on, str) else on for on in one.get("after", [])]
            for on in after:
                if on["task"] not in new["tasks"]:
                    self.gateway.refuse(f"task {name!r} waits for {on['task']!r}, which is not in the flow")
            flow.tasks[name] = self.gateway.waiting(one, flow.id, name, after)
        self.flows[flow.id] = flow
        if key:
            self.gateway.flow_keys[key] = flow.id
        self.look()
        return flow.view()

    def get(self, number: int) -> Flow:
        if number not in self.flows:
            self.gateway.refuse(f"there is no flow {number}", "not_found")
        return self.flows[number]

    def act(self, number: int, action: str, key: Optional[str]) -> Dict[str, Any]:
        flow = self.get(number)
        if action == "retry":
            return self._retry(flow, key)
        tasks = [task for task in flow.tasks.values() if task.status not in ENDED]
        if not tasks:
            self.gateway.refuse(f"flow {number} has ended", "not_allowed")
        # What waits comes first, or it would be skipped.
        for task in sorted(tasks, key=lambda task: not task.waits):
            if task.waits and action == "cancel":
                task.waits, task.status = False, "cancelled"
            elif not task.waits and task.status == {"pause": "running", "resume": "paused"}.get(action, task.status):
                self.gateway.act(task.id, action, None)
        self.look()
        return flow.view()

    def _retry(self, flow: Flow, key: Optional[str]) -> Dict[str, Any]:
        again = {name: task for name, task in flow.tasks.items() if state_of(task) in ("failed", "skipped")}
        if not again:
            self.gateway.refuse(f"flow {flow.id} has nothing to retry", "not_allowed")
        tasks = {name: {**task.new, "after": [on for on in task.after if on["task"] in again]} for name, task in again.items()}
        return self.create({"name": flow.name, "tasks": tasks}, key, flow.id)

    def look(self) -> None:
        """Begins and skips what waits, until nothing changes any more."""
        changed = True
        while changed:
            changed = False
            for flow in self.flows.values():
                for task in flow.tasks.values():
                    changed |= task.waits and self._settle(flow, task)

    def _settle(self, flow: Flow, task: Task) -> bool:
        met = [is_met(flow.tasks[on["task"]], on["when"]) for on in task.after]
        if False in met:
            on = task.after[met.index(False)]
            task.waits, task.status, task.reason = False, "skipped", f"task {flow.tasks[on['task']].id} was to be {on['when']}"
            return True
        if None in met:
            return False
        task.waits = False
        self.gateway.begin(task, filled(task.new.get("param"), flow, task.after))
        return True


class Schedules:
    """The schedules of a gateway. Calls are made under its lock."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.schedules: Dict[str, Dict[str, Any]] = {}

    def create(self, new: Dict[str, Any], key: Optional[str]) -> Dict[str, Any]:
        known = self.schedules.get(new["name"])
        if known and (key is None or known["key"] != key):
            self.gateway.refuse(f"there is a schedule {new['name']!r} already", "not_allowed")
        if not known:
            known = {"key": key, "words": new["when"], "zone": "UTC", "paused": False, "upcoming": [], "task": None, "flow": None, **new}
            self.schedules[new["name"]] = known
        return known

    def get(self, name: str) -> Dict[str, Any]:
        if name not in self.schedules:
            self.gateway.refuse(f"there is no schedule {name!r}", "not_found")
        return self.schedules[name]

    def act(self, name: str, action: str, key: Optional[str]) -> Dict[str, Any]:
        schedule = self.get(name)
        if action == "trigger":
            if schedule["task"]:
                return self.gateway.create(schedule["task"], key)
            return dict(self.gateway.flows.create(schedule["flow"], key)["tasks"][0])
        schedule["paused"] = action == "pause"
        return schedule
