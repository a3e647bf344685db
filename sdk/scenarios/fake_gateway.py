"""A gateway for tests: the task and work routes of DTF over memory, with faults on demand.

It follows the rules of the real exchange: leases, tickets, dropped items, drain, items that a beat does not name, late successes that
count and late failures that do not. Every task is of type ``map``. Run by hand: ``python3 fake_gateway.py --port 7070``.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Deque, Dict, List, Optional, Set, Tuple
from urllib.parse import parse_qs, unquote, urlsplit

from fake_flows import Flows, Schedules

UNNAMED = 5.0
MAX_LOSSES = 3
MAX_RESULT = 1024 * 1024
MAX_MESSAGE = 256
MAX_REQUEST = 4 * 1024 * 1024
MAX_ANSWER = 8 * 1024 * 1024
STATUS = {
    "invalid_request": 422, "not_found": 404, "not_allowed": 409, "no_session": 409, "too_large": 413,
    "unknown": 504, "unavailable": 503, "unauthenticated": 401, "full": 429, "items_missing": 409,
}  # fmt: skip


class Problem(Exception):
    """An error that is answered as a problem."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


@dataclass(eq=False)
class Item:
    """An item of a task, in its current attempt."""

    task: Task
    number: int
    body: Any
    attempt: int = 0
    losses: int = 0
    ticket: str = ""
    session: Optional[str] = None
    since: float = 0.0
    ready: float = 0.0


@dataclass
class Task:
    """A task and its books."""

    id: int
    new: Dict[str, Any]
    function: str
    attempts: int
    timeout: float
    keep: bool
    status: str = "running"
    created: int = 0
    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    cancelled: int = 0
    results: List[Any] = field(default_factory=list)
    failures: List[Dict[str, Any]] = field(default_factory=list)
    retry_of: Optional[int] = None
    #: True while items are fed; the next offset of each producer.
    open: bool = False
    offsets: Dict[str, int] = field(default_factory=dict)
    reason: str = ""
    flow: Optional[int] = None
    flow_task: Optional[str] = None
    after: List[Dict[str, str]] = field(default_factory=list)
    waits: bool = False
    created_at: int = field(default_factory=lambda: int(time.time() * 1000))
    finished_at: Optional[int] = None

    def ended(self) -> int:
        return self.succeeded + self.failed + self.timed_out + self.cancelled

    def view(self) -> Dict[str, Any]:
        if self.status in ("completed", "cancelled", "exceptional", "skipped") and self.finished_at is None:
            self.finished_at = int(time.time() * 1000)
        return {
            "id": self.id, "type": "map", "name": self.new.get("name", ""), "description": "", "creator": {"uid": 0, "name": ""},
            "group": self.new.get("group", "default"), "priority": 6000, "timeout_ms": 1_800_000, "limits": {},
            "status": self.status, "control": "run", "reason": self.reason, "run": 1, "created_at": self.created_at,
            "param": self.new.get("param"), "waits": self.waits, "flow": self.flow, "flow_task": self.flow_task, "blocked_on": [],
            "retry_of": self.retry_of, "finished_at": self.finished_at,
            "progress": {
                "created": self.created, "succeeded": self.succeeded, "failed": self.failed, "timed_out": self.timed_out,
                "cancelled": self.cancelled, "pending": self.created - self.ended(), "delayed": 0, "running": 0, "generated": True,
            },
            "result": {"code": 0, "reason": "", "data": {"succeeded": self.succeeded}} if self.status == "completed" else None,
        }  # fmt: skip


@dataclass
class Session:
    """A worker's session."""

    worker: Dict[str, Any]
    functions: List[str]
    end: float
    running: Set[str] = field(default_factory=set)
    dropped: List[str] = field(default_factory=list)
    drained: bool = False
    told: bool = False
    #: A beat that waits is answered, though a poll may have taken the news.
    stirred: bool = False

    def news(self) -> Tuple[List[str], bool]:
        dropped, self.dropped = self.dropped, []
        drain = self.drained and not self.told
        self.told |= drain
        return dropped, drain


@dataclass
class Fault:
    """A fault of the next calls of a path: ``status``, ``unknown``, ``lost``, ``cut``, ``garbage``, ``hang`` or ``no_session``."""

    path: str
    kind: str
    times: int = 1
    seconds: float = 3.0


class Gateway:
    """The gateway. Its fields may be read by tests under ``changed``."""

    def __init__(self, port: int = 0, lease: float = 30.0) -> None:
        self.lease = lease
        self.changed = threading.Condition(threading.RLock())
        self.tasks: Dict[int, Task] = {}
        self.items: Dict[str, Item] = {}
        self.queues: Dict[str, Deque[Item]] = {}
        self.sessions: Dict[str, Session] = {}
        self.keys: Dict[str, int] = {}
        self.flow_keys: Dict[str, int] = {}
        self.flows, self.schedules = Flows(self), Schedules(self)
        self.faults: List[Fault] = []
        self.calls: Counter[str] = Counter()
        self.reports: Counter[str] = Counter()
        #: The notes on each item that runs, and if a beat may have any.
        self.notes: Dict[str, List[Dict[str, Any]]] = {}
        self.takes_notes = True
        self.largest = {"reports": 0, "bytes": 0}
        self.left: List[str] = []
        self.port = port
        self.server: Optional[Server] = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listens, on the port of before if there was one."""
        self.server = Server(self, self.port)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        threading.Thread(target=self._tick, args=(self.server,), daemon=True).start()

    def stop(self, forget: bool = False) -> None:
        """Refuses connections and cuts those that are open. With ``forget``, sessions and tickets are lost as with a process."""
        server, self.server = self.server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        server.cut()
        with self.changed:
            if forget:
                self.sessions.clear()
                for item in list(self.items.values()):
                    del self.items[item.ticket]
                    self._offer(item)
            self.changed.notify_all()

    def fault(self, path: str, kind: str, times: int = 1, seconds: float = 3.0) -> None:
        """Has the next calls of a path fail."""
        with self.changed:
            self.faults.append(Fault(path, kind, times, seconds))

    def expire(self) -> None:
        """Ends all sessions, as if their leases were over."""
        with self.changed:
            for session in self.sessions.values():
                session.end = 0.0

    def drain(self) -> None:
        """Asks all workers to leave."""
        with self.changed:
            for session in self.sessions.values():
                session.drained = True
            self.changed.notify_all()

    def take_fault(self, path: str) -> Optional[Fault]:
        with self.changed:
            self.calls[path] += 1
            for fault in self.faults:
                if fault.path == path and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    # Items.

    def _tick(self, server: Server) -> None:
        while self.server is server:
            time.sleep(0.02)
            now = time.monotonic()
            with self.changed:
                for name in [name for name, session in self.sessions.items() if session.end <= now]:
                    self._end_session(name, True)
                given = [self.items.get(ticket) for session in self.sessions.values() for ticket in session.running]
                for item in [item for item in given if item and item.since + item.task.timeout <= now]:
                    self._drop(item)
                    self._fail(item, "the worker took too long", True, timed_out=True)
                if any(queue and queue[0].ready <= now for queue in self.queues.values()):
                    self.changed.notify_all()

    def _offer(self, item: Item, delay: float = 0.0, first: bool = False) -> None:
        item.ticket, item.session, item.ready = item.ticket if first else str(uuid.uuid4()), None, time.monotonic() + delay
        self.items[item.ticket] = item
        queue = self.queues.setdefault(item.task.function, deque())
        queue.appendleft(item) if first else queue.append(item)
        self.changed.notify_all()

    def _drop(self, item: Item) -> None:
        session = self.sessions.get(item.session or "")
        if session and item.ticket in session.running:
            session.running.discard(item.ticket)
            session.dropped.append(item.ticket)
            session.stirred = True
            self.changed.notify_all()

    def _end_session(self, name: str, lost: bool) -> None:
        session = self.sessions.pop(name)
        for ticket in session.running:
            item = self.items.get(ticket)
            if item is None:
                continue
            item.losses += lost
            if item.losses >= MAX_LOSSES:
                self._fail(item, "it was lost with 3 workers", False)
            else:
                self._offer(item, first=True)
        self.changed.notify_all()

    def _fail(self, item: Item, error: str, retryable: bool, timed_out: bool = False) -> None:
        del self.items[item.ticket]
        task = item.task
        item.attempt += 1
        if retryable and item.attempt < task.attempts and task.status == "running":
            self._offer(item, 0.05)
            return
        task.timed_out += timed_out
        task.failed += not timed_out
        failure = {"epoch": 1, "seq": item.number, "timed_out": timed_out, "error": error, "body": json.dumps(item.body)}
        task.failures.append(failure)
        self._settle(task)

    def _succeed(self, item: Item, result: Any) -> None:
        del self.items[item.ticket]
        item.task.succeeded += 1
        if item.task.keep:
            item.task.results.append(result)
        self._settle(item.task)

    def _settle(self, task: Task) -> None:
        if task.ended() == task.created and not task.open and task.status in ("running", "paused"):
            task.status = "completed"
            self.flows.look()
        self.changed.notify_all()

    # The work routes.

    def poll(self, call: Dict[str, Any], is_gone: Callable[[], bool]) -> Dict[str, Any]:
        most, name = call["most"], call.get("session")
        if not isinstance(most, int) or not 0 <= most <= 1000:
            raise Problem("invalid_request", f"most is {most}; allowed is 0 to 1000")
        deadline = time.monotonic() + min(call.get("wait_ms", 20_000), 20_000) / 1000
        with self.changed:
            if name is None:
                if not call.get("functions") or not call.get("worker", {}).get("name"):
                    raise Problem("invalid_request", "a new session needs worker.name and functions")
                name = str(uuid.uuid4())
                self.sessions[name] = Session(call["worker"], sorted(call["functions"]), time.monotonic() + self.lease)
            while True:
                session = self._renew(name)
                # Nothing is given to a worker that has hung up.
                items = [] if is_gone() else self._give(name, session, most)
                dropped, drain = session.news()
                left = deadline - time.monotonic()
                if items or dropped or drain or left <= 0 or is_gone():
                    break
                self.changed.wait(min(left, 0.25))
        return {"session": name, "lease_ms": int(self.lease * 1000), "items": items, "dropped": dropped, "drain": drain}

    def _renew(self, name: str) -> Session:
        session = self.sessions.get(name)
        if session is None:
            raise Problem("no_session", "the session is unknown or has ended; poll without a session to begin a new one")
        session.end = time.monotonic() + self.lease
        return session

    def _give(self, name: str, session: Session, most: int) -> List[Dict[str, Any]]:
        given: List[Dict[str, Any]] = []
        size, now = 0, time.monotonic()
        for function in [] if session.drained else session.functions:
            queue = self.queues.get(function, deque())
            while queue and len(given) < most and size < MAX_ANSWER and queue[0].ready <= now:
                if queue[0].task.status == "paused":
                    break
                item = queue.popleft()
                if self.items.get(item.ticket) is not item or item.session:
                    continue  # It has an outcome, or is in the queue twice.
                item.session, item.since = name, now
                session.running.add(item.ticket)
                size += len(json.dumps(item.body))
                given.append({
                    "ticket": item.ticket, "function": function, "task": item.task.id, "key": f"{item.task.id}-1-{item.number}",
                    "attempt": item.attempt, "timeout_ms": int(item.task.timeout * 1000), "body": item.body,
                })  # fmt: skip
        return given

    def report(self, call: Dict[str, Any]) -> Dict[str, Any]:
        reports, name = call["reports"], call["session"]
        if len(reports) > 1000:
            raise Problem("invalid_request", f"{len(reports)} reports are too many; at most 1000 are taken")
        for report in reports:
            if set(report) - {"ticket", "result", "error", "retryable"}:
                raise Problem("invalid_request", f"unknown field in {sorted(report)}")
            if report.get("result") is not None and report.get("error") is not None:
                raise Problem("invalid_request", "a report has a result and an error; give one of them")
            if len(json.dumps(report.get("result"), ensure_ascii=False).encode()) > MAX_RESULT:
                raise Problem("too_large", f"the result of {report['ticket']} has more than 1 MiB")
        with self.changed:
            session = self.sessions.get(name)
            if session:
                session.end = time.monotonic() + self.lease
            self.largest["reports"] = max(self.largest["reports"], len(reports))
            unknown, refused = [], False
            for report in reports:
                ticket, error = report["ticket"], report.get("error")
                self.reports[ticket] += 1
                item = self.items.get(ticket)
                if item is None or (error is not None and (session is None or item.session != name)):
                    refused |= item is not None and session is None
                    unknown.append(ticket)
                    continue
                holder = self.sessions.get(item.session or "")
                if holder and holder is not session:
                    self._drop(item)
                elif holder:
                    holder.running.discard(ticket)
                if error is None:
                    self._succeed(item, report.get("result"))
                else:
                    self._fail(item, error[:4096], report.get("retryable", True))
            if refused:
                raise Problem("no_session", "the session is unknown or has ended; poll without a session to begin a new one")
        return {"accepted": len(reports) - len(unknown), "unknown": unknown}

    def _note(self, session: Session, call: Dict[str, Any]) -> None:
        """Takes the notes of a beat; those on items that its worker does not have are passed over."""
        unknown = set(call) - {"session", "running", "wait_ms"} - ({"notes"} if self.takes_notes else set())
        if unknown:
            raise Problem("invalid_request", f"unknown field {sorted(unknown)}")
        for note in call.get("notes", []):
            progress, message = note.get("progress"), note.get("message")
            if set(note) - {"ticket", "progress", "message"} or not (progress is None or 0.0 <= progress <= 1.0):
                raise Problem("invalid_request", f"{note} is no note")
            if message is not None and len(message) > MAX_MESSAGE:
                raise Problem("invalid_request", f"a message has {len(message)} characters; at most {MAX_MESSAGE} are taken")
            if note["ticket"] in session.running:
                self.notes.setdefault(note["ticket"], []).append(note)
        self.changed.notify_all()

    def beat(self, call: Dict[str, Any]) -> Dict[str, Any]:
        deadline = time.monotonic() + min(call.get("wait_ms", 0), 20_000) / 1000
        with self.changed:
            session, now = self._renew(call["session"]), time.monotonic()
            self._note(session, call)
            running = set(call["running"])
            session.dropped.extend(running - session.running)
            for ticket in session.running - running:
                item = self.items.get(ticket)
                if item and now - item.since >= UNNAMED:
                    session.running.discard(ticket)
                    self._offer(item, first=True)
            while True:
                session = self._renew(call["session"])
                dropped, drain = session.news()
                left = deadline - time.monotonic()
                if dropped or drain or session.stirred or left <= 0:
                    session.stirred = False
                    return {"lease_ms": int(self.lease * 1000), "dropped": dropped, "drain": drain}
                self.changed.wait(left)

    def leave(self, call: Dict[str, Any]) -> None:
        with self.changed:
            self.left.append(call["session"])
            if call["session"] in self.sessions:
                self._end_session(call["session"], False)

    # The task routes.

    def create(self, new: Dict[str, Any], key: Optional[str]) -> Dict[str, Any]:
        with self.changed:
            if key is not None and key in self.keys:
                return self.tasks[self.keys[key]].view()
            taken = (new.get("unique") or {}).get("key")
            for other in self.tasks.values() if taken else ():
                # Of the times for which a key is taken, this gateway knows `running`.
                if (other.new.get("unique") or {}).get("key") == taken and other.view()["finished_at"] is None:
                    return other.view()
            task = self._task(new)
            self._add(task, bodies_of(new["param"]), key)
            return task.view()

    def feed(self, number: int, query: Dict[str, str], items: List[Any]) -> Dict[str, Any]:
        with self.changed:
            task = self.task(number)
            if not task.open or task.status not in ("running", "paused"):
                raise Problem("not_allowed", f"task {number} takes no items")
            producer, offset = query["producer"], int(query["offset"])
            known = task.offsets.get(producer, 0)
            if offset > known:
                raise Problem("items_missing", f"items of the producer are missing: its next offset is {known}")
            new = items[known - offset :]
            for item in new:
                self._offer(Item(task, task.created, item))
                task.created += 1
            task.offsets[producer] = max(known, offset + len(items))
            return {"new": len(new)}

    def close_items(self, number: int) -> Dict[str, Any]:
        with self.changed:
            task = self.task(number)
            if task.status not in ("running", "paused"):
                raise Problem("not_allowed", f"task {number} is {task.status} and cannot be closed")
            task.open = False
            self._settle(task)
            return task.view()

    def _task(self, new: Dict[str, Any]) -> Task:
        param = new.get("param") or {}
        source, function = param.get("source"), (param.get("function") or {}).get("worker")
        if new.get("type") != "map" or not function or not (isinstance(source, dict) or source == "items"):
            raise Problem("invalid_request", "this gateway knows only the type map, with a source and a function")
        task = Task(
            len(self.tasks) + 1, new, function, param.get("attempts", 3), param.get("timeout_ms", 300_000) / 1000,
            param.get("sink") == "keep",
        )  # fmt: skip
        task.open = source == "items"
        return task

    def refuse(self, why: str, code: str = "invalid_request") -> None:
        """Refuses a request."""
        raise Problem(code, why)

    def waiting(self, new: Dict[str, Any], flow: int, name: str, after: List[Dict[str, str]]) -> Task:
        """Adds a task of a flow, which waits until the flow begins it."""
        task = self._task(new)
        task.status, task.waits, task.flow, task.flow_task, task.after = "created", True, flow, name, after
        self.tasks[task.id] = task
        return task

    def begin(self, task: Task, param: Dict[str, Any]) -> None:
        """Begins a task that has waited."""
        task.status = "running"
        self._add(task, bodies_of(param), None)

    def _add(self, task: Task, bodies: List[Any], key: Optional[str]) -> None:
        self.tasks[task.id] = task
        if key is not None:
            self.keys[key] = task.id
        task.created = len(bodies)
        for number, body in enumerate(bodies):
            self._offer(Item(task, number, body))
        self._settle(task)

    def task(self, number: int) -> Task:
        task = self.tasks.get(number)
        if task is None:
            raise Problem("not_found", f"there is no task {number}")
        return task

    def act(self, number: int, action: str, key: Optional[str]) -> Dict[str, Any]:
        with self.changed:
            task = self.task(number)
            if action == "retry":
                if key is not None and key in self.keys:
                    return self.tasks[self.keys[key]].view()
                if not task.failures:
                    raise Problem("not_allowed", f"task {number} has no failed subtasks to retry")
                bodies = [json.loads(failure["body"]) for failure in task.failures]
                again = Task(len(self.tasks) + 1, task.new, task.function, task.attempts, task.timeout, task.keep, retry_of=number)
                self._add(again, bodies, key)
                return again.view()
            wanted = {"pause": ("running", "paused"), "resume": ("paused", "running"), "cancel": ("running paused", "cancelled")}
            before, after = wanted[action]
            if task.status not in before.split():
                raise Problem("not_allowed", f"task {number} is {task.status} and cannot be {after}")
            task.status = after
            if action == "cancel":
                for item in [item for item in self.items.values() if item.task is task]:
                    self._drop(item)
                    del self.items[item.ticket]
                    task.cancelled += 1
                self.flows.look()
            self.changed.notify_all()
            return task.view()


def bodies_of(param: Dict[str, Any]) -> List[Any]:
    """Returns the items of a task."""
    source = param["source"]
    if source == "items":
        return []
    if "list" in source:
        return list(source["list"])
    return list(range(source["range"].get("from", 0), source["range"]["to"]))


class Server(ThreadingHTTPServer):
    """A server whose connections can be cut."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway = gateway
        self.open: Set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Handler)

    def cut(self) -> None:
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: workers are killed and connections cut all the time."""


class Handler(BaseHTTPRequestHandler):
    """A connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self._answer(None)

    def do_DELETE(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.gateway.largest["bytes"] = max(self.server.gateway.largest["bytes"], len(body))
        self._answer(body)

    def _answer(self, body: Optional[bytes]) -> None:
        gateway, path = self.server.gateway, urlsplit(self.path).path
        fault = gateway.take_fault(path.rsplit("/", 1)[-1])
        try:
            if fault and fault.kind == "status":
                raise Problem("unavailable", "a fault of the test")
            if fault and fault.kind == "hang":
                time.sleep(fault.seconds)
                self.close_connection = True
                return
            if body is not None and len(body) > MAX_REQUEST:
                raise Problem("too_large", "the body is too large; at most 4 MiB are read")
            if fault and fault.kind == "full":
                raise Problem("full", "as many items wait as may")
            if self.headers.get("Content-Type") == "application/x-ndjson":
                call = [json.loads(line) for line in (body or b"").splitlines() if line.strip()]
            else:
                call = json.loads(body) if body else {}
            if fault and fault.kind == "no_session":
                with gateway.changed:
                    if call.get("session") in gateway.sessions:
                        gateway._end_session(call["session"], True)
            if path.endswith("/events"):
                return self._events(int(path.split("/")[3]))
            status, answer = self._route(path, call)
            if fault and fault.kind == "unknown":
                raise Problem("unknown", "a store did not answer")
        except Problem as problem:
            status = STATUS[problem.code]
            answer = {"code": problem.code, "status": status, "title": "Error", "detail": problem.detail}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            status, answer = 422, {"code": "invalid_request", "status": 422, "title": "Error", "detail": repr(error)}
        data = b"" if answer is None else json.dumps(answer, ensure_ascii=False).encode()
        if fault and fault.kind == "garbage":
            data = b"<html>\xff not JSON"
        if fault and fault.kind == "lost":
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
        if answer is not None or status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if fault and fault.kind == "cut":
            data, self.close_connection = data[: len(data) // 2], True
        self.wfile.write(data)

    def _route(self, path: str, call: Dict[str, Any]) -> Tuple[int, Any]:
        gateway, parts = self.server.gateway, path.strip("/").split("/")
        key = self.headers.get("Idempotency-Key")
        if parts[:2] in (["v1", "flows"], ["v1", "schedules"]):
            with gateway.changed:
                return self._flow_or_schedule(parts[1], [unquote(part) for part in parts[2:]], call, key)
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        query = {name: int(value) for name, value in asked.items() if value.isdigit()}
        if parts[:2] == ["v1", "work"]:
            if parts[2] == "leave":
                gateway.leave(call)
                return 204, None
            if parts[2] == "poll":
                return 200, gateway.poll(call, self._is_gone)
            routes = {"report": gateway.report, "beat": gateway.beat}
            if parts[2] in routes:
                return 200, routes[parts[2]](call)
        if parts[:2] != ["v1", "tasks"]:
            raise Problem("not_found", f"there is nothing at {path}")
        if len(parts) == 2:
            return 201, gateway.create(call, key)
        number = int(parts[2])
        if len(parts) == 3:
            with gateway.changed:
                return 200, gateway.task(number).view()
        if parts[3] == "items":
            if self.command == "POST":
                return 200, gateway.feed(number, asked, call)
            with gateway.changed:
                task = gateway.task(number)
                offset = task.offsets.get(asked.get("producer", ""), 0)
                return 200, {"items": task.created, "kept": task.created, "closed": not task.open, "next_offset": offset}
        if parts[3] == "close":
            return 200, gateway.close_items(number)
        if self.command == "POST":
            return 200, gateway.act(number, parts[3], key)
        with gateway.changed:
            return 200, self._read(gateway.task(number), parts[3], query)

    def _flow_or_schedule(self, what: str, parts: List[str], call: Dict[str, Any], key: Optional[str]) -> Tuple[int, Any]:
        """Answers from flows or schedules. Lists have two pages, so that cursors are used."""
        flows, schedules = self.server.gateway.flows, self.server.gateway.schedules
        if not parts and self.command == "POST":
            return 201, flows.create(call, key) if what == "flows" else schedules.create(call, key)
        if not parts:
            found = [flow.summary() for flow in reversed(flows.flows.values())] if what == "flows" else list(schedules.schedules.values())
            first = "cursor" not in parse_qs(urlsplit(self.path).query)
            return 200, {what: found[:1] if first else found[1:], "next": 1 if first else None}
        if what == "flows":
            number = int(parts[0])
            return 200, flows.get(number).view() if len(parts) == 1 else flows.act(number, parts[1], key)
        if self.command == "DELETE":
            del schedules.schedules[parts[0]]
            return 204, None
        return 200, schedules.get(parts[0]) if len(parts) == 1 else schedules.act(parts[0], parts[1], key)

    def _is_gone(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _read(self, task: Task, what: str, query: Dict[str, int]) -> Any:
        limit = query.get("limit", 100)
        if what == "result":
            return task.view()["result"]
        if what == "results":
            # A result's number is its place in the order of collection.
            first = query.get("from", 0)
            page = [{"number": first + n, "value": value} for n, value in enumerate(task.results[first : first + limit])]
            return {"results": page, "more": first + limit < len(task.results) or task.finished_at is None}
        if what == "failures":
            failures = sorted(task.failures, key=lambda failure: failure["seq"])
            if "after_seq" in query:
                failures = [failure for failure in failures if failure["seq"] > query["after_seq"]]
            return {"failures": failures[:limit], "more": len(failures) > limit}
        raise Problem("not_found", f"a task has no {what}")

    def _events(self, number: int) -> None:
        gateway = self.server.gateway
        with gateway.changed:
            task = gateway.task(number)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        last = None
        while True:
            with gateway.changed:
                view = task.view()
                if view == last:
                    gateway.changed.wait(0.5)
                    continue
            last = view
            self._chunk(f": keep-alive\n\nevent: task\ndata: {json.dumps(view, ensure_ascii=False)}\n\n".encode())
            if view["finished_at"]:
                return self._chunk(b"")
            time.sleep(0.05)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, default=7070)
    gateway = Gateway(arguments.parse_args().port)
    print(gateway.url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
