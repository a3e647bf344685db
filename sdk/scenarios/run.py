#!/usr/bin/env python3
"""The scenarios that every SDK goes through.

``run.py`` starts a fake gateway for each and breaks things; ``run.py --gateway URL`` runs those that need no faults of the gateway
against a real one. ``--sdk`` and ``--only`` choose.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
import uuid
from glob import glob
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from fake_gateway import Gateway

SDK = Path(__file__).resolve().parent.parent
LIBFAKETIME = glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
#: Longer than any machine needs.
PATIENCE = 120.0


class Missing(Exception):
    """A language that is not installed."""


def commands(sdk: str, build: Path) -> List[str]:
    """Returns the command line of the program of an SDK's scenarios, built."""
    if sdk.startswith("python"):
        return [os.environ.get("PYTHON", sys.executable), str(SDK / "python/tests/worker.py")]
    if sdk == "node":
        if shutil.which("node") is None:
            raise Missing("node is not installed: apt-get install --no-install-recommends nodejs (20 or later)")
        return ["node", str(SDK / "typescript/tests/worker.mjs")]
    if shutil.which("go") is None:
        raise Missing("go is not installed: apt-get install --no-install-recommends golang-go")
    program = build / "worker"
    if not program.exists():
        subprocess.run(["go", "build", "-o", str(program), "./internal/scenario"], cwd=SDK / "go", check=True)
    return [str(program)]


class Skipped(Exception):
    """A scenario that cannot be had here."""


class Case:
    """A scenario that runs: a gateway and the workers of one SDK."""

    def __init__(self, sdk: str, command: List[str], url: Optional[str]) -> None:
        self.sdk, self.command = sdk, command
        self.fake = None if url else Gateway()
        self.url = url or self.gateway.url
        self.workers: List[subprocess.Popen[str]] = []
        self.logs = tempfile.TemporaryFile("w+")

    @property
    def gateway(self) -> Gateway:
        """The fake gateway."""
        assert self.fake is not None
        return self.fake

    def spawn(self, role: str = "worker", **environment: str) -> subprocess.Popen[str]:
        """Starts the program of the SDK."""
        mode = {"python-processes": "processes", "python-asyncio": "asyncio"}.get(self.sdk, "threads")
        variables = {**os.environ, "DTF_URL": self.url, "DTF_MODE": mode, "DTF_NAME": f"{self.sdk}-{uuid.uuid4().hex[:8]}", **environment}
        worker = subprocess.Popen([*self.command, role], env=variables, stdout=subprocess.PIPE, stderr=self.logs, text=True)
        self.workers.append(worker)
        return worker

    def call(self, method: str, path: str, body: Any = None, headers: Optional[Dict[str, str]] = None) -> Any:
        """Asks the gateway."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        token = os.environ.get("DTF_TOKEN")
        if token:
            sent["Authorization"] = f"Bearer {token}"
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, sent, method=method), timeout=60) as answer:
            return json.load(answer)

    def create(self, function: str, items: Any, attempts: int = 3, timeout: float = 60.0, sink: str = "keep") -> int:
        """Creates a task, which keeps its results, and returns its id."""
        source = {"range": {"from": items.start, "to": items.stop}} if isinstance(items, range) else {"list": items}
        param = {
            "source": source, "function": {"worker": function}, "sink": sink, "attempts": attempts, "timeout_ms": round(timeout * 1000),
        }  # fmt: skip
        return int(self.call("POST", "/v1/tasks", {"type": "map", "param": param}, {"Idempotency-Key": str(uuid.uuid4())})["id"])

    def end(self, task: int) -> Dict[str, Any]:
        """Waits for the end of a task, and returns its progress."""
        view: Dict[str, Any] = {}

        def ended() -> bool:
            nonlocal view
            view = self.call("GET", f"/v1/tasks/{task}")
            return view.get("finished_at") is not None

        self.until(ended, f"task {task} to end", pause=0.1 if self.fake is None else 0.02)
        progress: Dict[str, Any] = view["progress"]
        outcomes = sum(progress[name] for name in ("succeeded", "failed", "timed_out", "cancelled"))
        same(outcomes, progress["created"], "the sum of the outcomes")
        return progress

    def results(self, task: int) -> List[Any]:
        """Returns the results of a task."""
        found: List[Any] = []
        while True:
            page = self.call("GET", f"/v1/tasks/{task}/results?limit=1000&from={len(found)}")
            found += [result["value"] for result in page["results"]]
            if not page["more"]:
                return found

    def errors(self, task: int) -> List[str]:
        """Returns the errors of the items that failed for good."""
        return sorted(failure["error"] for failure in self.call("GET", f"/v1/tasks/{task}/failures")["failures"])

    def until(self, condition: Callable[[], Any], what: str, pause: float = 0.01, patience: float = PATIENCE) -> None:
        """Waits for a condition."""
        end = time.monotonic() + patience
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"waited {patience:g} s for {what}")
            time.sleep(pause)

    def notes(self, task: int) -> List[Dict[str, Any]]:
        """Returns what was said of the only item of a task, as far as the gateway keeps it."""
        if self.fake is not None:
            return [note for notes in list(self.gateway.notes.values()) for note in notes]
        return [item for item in self.call("GET", f"/v1/work/items?task={task}") if "progress" in item]

    def running(self, count: int) -> None:
        """Waits until workers have so many items."""
        if self.fake is not None:
            self.until(lambda: sum(len(session.running) for session in list(self.gateway.sessions.values())) >= count, "items to run")
        else:
            self.until(lambda: sum(worker["running"] for worker in self.call("GET", "/v1/work/workers")) >= count, "items to run", 0.05)

    def begun(self, worker: subprocess.Popen[str], count: int) -> None:
        """Waits until a worker has said of so many functions that they have begun."""
        assert worker.stdout is not None
        for _ in range(count):
            same(worker.stdout.readline(), "begun\n", "the output of the worker")

    def drained(self, worker: subprocess.Popen[str]) -> str:
        """Waits for the end of a worker that was asked to leave, and returns its output."""
        output, _ = worker.communicate(timeout=PATIENCE)
        same(worker.returncode, 0, "the exit code of the worker")
        assert "drained" in output, output
        return output

    def close(self) -> None:
        """Kills the workers."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
            if worker.stdout:
                worker.stdout.close()
        if self.fake is not None:
            self.gateway.stop()


def same(seen: Any, wanted: Any, what: str = "it") -> None:
    """Fails where two values differ."""
    assert seen == wanted, f"{what} is {str(seen)[:300]}; wanted is {str(wanted)[:300]}"


def counts(progress: Dict[str, Any], **wanted: int) -> None:
    """Checks numbers of a task's books."""
    same({name: progress[name] for name in wanted}, wanted, "the books")


SCENARIOS: Dict[str, Callable[[Case], None]] = {}
REAL: List[str] = []


def scenario(real: bool = False) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Registers a scenario; with ``real`` also for a gateway that cannot be told to fail."""

    def register(run: Callable[[Case], None]) -> Callable[[Case], None]:
        SCENARIOS[run.__name__] = run
        if real:
            REAL.append(run.__name__)
        return run

    return register


@scenario(real=True)
def normal_run(case: Case) -> None:
    """A thousand items, each counted once, in far fewer requests."""
    case.spawn()
    task = case.create("square", range(0, 1000))
    counts(case.end(task), succeeded=1000)
    same(sorted(case.results(task)), [n * n for n in range(1000)], "the results")
    if case.fake is not None:
        assert case.gateway.calls["report"] < 500, case.gateway.calls


@scenario(real=True)
def unicode(case: Case) -> None:
    """Text of every kind comes back as it was."""
    case.spawn()
    items = ["ünïcode ✓ 漢字 🦀", "\u0000\u001f\"\\/", "\u2028\u2029", "", {"ключ": ["🦀", None, True, -1.5, 1e300, 2**53 - 1]}]
    task = case.create("echo", items)
    counts(case.end(task), succeeded=len(items))
    same(sorted(map(repr, case.results(task))), sorted(map(repr, items)), "the results")


@scenario(real=True)
def large_bodies(case: Case) -> None:
    """Results of nearly 1 MiB travel; one that is larger fails for good and says why."""
    case.spawn()
    sizes = [400_000] * 6 if case.fake is None else [500_000] * 6
    task = case.create("large", [*sizes, 600_000])
    counts(case.end(task), succeeded=6, failed=1)
    same(sorted(map(len, case.results(task))), sizes, "the sizes of the results")
    assert "at most 1048576" in case.errors(task)[0], case.errors(task)
    if case.fake is not None:
        tasks = [case.create("echo", ["x" * 1_000_000] * 3) for _ in range(4)]
        for task in tasks:
            counts(case.end(task), succeeded=3)


@scenario(real=True)
def function_raises(case: Case) -> None:
    """A failure is retried as often as the function allows, and then kept with its message."""
    case.spawn()
    task = case.create("raise", ["ö"], attempts=10)
    counts(case.end(task), failed=1)
    assert "bad ö" in case.errors(task)[0], case.errors(task)
    if case.fake is not None:
        same(sum(case.gateway.reports.values()), 2, "the number of attempts")
    task = case.create("flaky", [1, 2, 3])
    counts(case.end(task), succeeded=3)
    same(case.results(task), [[True, 1, True]] * 3, "what the context said")


@scenario(real=True)
def poison_item(case: Case) -> None:
    """A final error is not tried again, and harms no other item."""
    case.spawn()
    bad, good = case.create("poison", ["ß"], attempts=10), case.create("square", [2])
    counts(case.end(bad), failed=1)
    assert "poison ß" in case.errors(bad)[0], case.errors(bad)
    counts(case.end(good), succeeded=1)
    bad = case.create("unencodable", [1], attempts=10)
    counts(case.end(bad), failed=1)
    assert "the result is no JSON" in case.errors(bad)[0], case.errors(bad)
    if case.fake is not None:
        same(max(case.gateway.reports.values()), 1, "the number of attempts")


@scenario(real=True)
def hang(case: Case) -> None:
    """A function that does not return is given up after its time, and its slot is free again."""
    case.spawn(DTF_CONCURRENCY="2")
    task = case.create("hang", [1, 2, 3, 4], attempts=1)
    progress = case.end(task)
    same(progress["failed"] + progress["timed_out"], 4, "what failed")
    assert "the function took longer than" in case.errors(task)[0], case.errors(task)
    counts(case.end(case.create("square", range(0, 10))), succeeded=10)


@scenario(real=True)
def slow_among_fast(case: Case) -> None:
    """A function that hangs, or that kills its process, holds up and fails no other item, though these were given and taken together."""
    case.spawn(DTF_CONCURRENCY="2")
    counts(case.end(case.create("mixed", range(0, 2000))), succeeded=2000)
    slow = ["hang", "crash"] if case.sdk == "python-processes" else ["hang"]
    items = [*range(400), *slow, *range(400, 800)]
    task = case.create("mixed", items, attempts=1)
    progress = case.end(task)
    same(progress["succeeded"], 800, "what succeeded")
    same(progress["failed"] + progress["timed_out"], len(slow), "what failed")
    same(sorted(case.results(task)), list(range(800)), "the results")
    errors = " ".join(case.errors(task))
    assert "took" in errors and ("exit code -9" in errors) == ("crash" in slow), errors


@scenario(real=True)
def cancelled_task(case: Case) -> None:
    """The items of a task that is cancelled stop, and the worker goes on."""
    worker = case.spawn(DTF_CONCURRENCY="2")
    task = case.create("sleep", [3600, 3600, 3600], timeout=1000)
    case.begun(worker, 2)
    if case.fake is not None:
        case.until(lambda: case.gateway.calls["beat"] > 0, "a first beat")
    before = 0 if case.fake is None else case.gateway.calls["beat"]
    case.call("POST", f"/v1/tasks/{task}/cancel")
    if case.fake is not None:
        # Nothing runs any more, and still a beat says so.
        case.until(lambda: case.gateway.calls["beat"] > before, "a beat of a worker without items", patience=8)
    counts(case.end(case.create("square", range(0, 10))), succeeded=10)
    case.end(task)
    worker.terminate()
    output = case.drained(worker)
    if case.sdk != "python-processes":
        # The third item may begin before a real service has withdrawn it.
        heard = output.count("cancelled")
        assert heard == 2 or (heard == 3 and case.fake is None), f"{heard} functions heard it"
    if case.fake is not None:
        same(sum(case.gateway.reports.values()), 10, "the number of reports")


@scenario(real=True)
def progress(case: Case) -> None:
    """What a function says of its item is told while it runs, although a beat waits already; a function that says much costs little."""
    case.spawn(DTF_CONCURRENCY="2")
    sleeps = case.create("sleep", [3600], timeout=1000)
    case.running(1)
    if case.fake is not None:
        case.until(lambda: case.gateway.calls["beat"] > 0, "a beat that waits")
    task = case.create("steps", [3600], timeout=1000)
    wanted = {"progress": 1.0, "message": "✓" * 256}
    # A beat that waits does so for ten seconds.
    case.until(lambda: case.notes(task), "a first note", patience=8)
    case.until(lambda: wanted.items() <= case.notes(task)[-1].items(), "the last note", 0.05, patience=20)
    notes = case.notes(task)
    assert len(notes) < 100, f"{len(notes)} notes were sent of 201"
    assert all(0.0 <= note["progress"] <= 1.0 for note in notes), notes
    for created in (task, sleeps):
        case.call("POST", f"/v1/tasks/{created}/cancel")
        counts(case.end(created), cancelled=1)


@scenario()
def progress_refused(case: Case) -> None:
    """A service that takes no notes harms nothing: the worker says so once, and goes on."""
    case.gateway.takes_notes = False
    worker = case.spawn()
    counts(case.end(case.create("steps", [0.1, 0.1, 1.5])), succeeded=3)
    assert worker.poll() is None, "the worker has ended"
    counts(case.end(case.create("square", range(0, 10))), succeeded=10)


@scenario(real=True)
def worker_killed(case: Case) -> None:
    """What a killed worker had runs elsewhere, and every item is counted once."""
    if case.fake is not None:
        case.gateway.lease = 1.0
    first = case.spawn(DTF_CONCURRENCY="4")
    task = case.create("sleep", [0.3] * 20)
    case.running(4)
    first.kill()
    first.communicate(timeout=20)
    case.spawn(DTF_CONCURRENCY="4")
    counts(case.end(task), succeeded=20)
    same(len(case.results(task)), 20, "the number of results")


@scenario()
def function_kills_worker(case: Case) -> None:
    """An item that kills its workers fails for good after three of them."""
    case.gateway.lease = 1.0
    if case.sdk == "python-processes":
        case.spawn()
        task = case.create("crash", [1], attempts=2)
        counts(case.end(task), failed=1)
        assert "exit code -9" in case.errors(task)[0], case.errors(task)
        return counts(case.end(case.create("square", [3])), succeeded=1)
    task = case.create("crash", [1])
    for _ in range(3):
        same(case.spawn().wait(PATIENCE), -signal.SIGKILL, "the exit code of the worker")
    counts(case.end(task), failed=1)
    assert "3 workers" in case.errors(task)[0], case.errors(task)


@scenario()
def duplicate_report(case: Case) -> None:
    """A report whose answer is lost, or unclear, is sent again and counts once."""
    case.gateway.fault("report", "lost", 2)
    case.gateway.fault("report", "unknown")
    case.spawn()
    task = case.create("square", range(0, 50))
    counts(case.end(task), succeeded=50)
    # The items are counted at the first report, whose answer is lost.
    case.until(lambda: max(case.gateway.reports.values()) >= 2, "a report to be sent twice")
    case.until(lambda: not any(s.running for s in case.gateway.sessions.values()), "the worker to have nothing left")


@scenario()
def network_cut(case: Case) -> None:
    """An answer that breaks off, or that is none, loses nothing: items that did not arrive are given again."""
    case.gateway.fault("poll", "garbage")
    case.gateway.fault("report", "garbage")
    case.gateway.fault("report", "cut")
    case.gateway.fault("beat", "garbage")
    case.gateway.fault("beat", "cut")
    worker = case.spawn()
    counts(case.end(case.create("square", range(0, 50))), succeeded=50)
    # The answer that brings the items breaks off: the poll that waits already is used up first.
    case.gateway.fault("poll", "cut")
    counts(case.end(case.create("square", [1])), succeeded=1)
    case.until(lambda: not any(fault.times for fault in case.gateway.faults), "a poll that will break off")
    began, task = time.monotonic(), case.create("square", range(0, 2))
    counts(case.end(task), succeeded=2)
    assert 4.5 < time.monotonic() - began < 20, "the items were lost for another time than it takes a beat to miss them"
    assert worker.poll() is None, "the worker has ended"


@scenario()
def hanging_gateway(case: Case) -> None:
    """Refused and unanswered requests are tried again."""
    case.gateway.fault("poll", "status", 3)
    case.gateway.fault("report", "hang", seconds=1.0)
    case.gateway.fault("report", "status", 2)
    case.spawn()
    counts(case.end(case.create("square", range(0, 20))), succeeded=20)


@scenario()
def gateway_restarts(case: Case) -> None:
    """A gateway that is away and comes back without sessions: the worker begins a new one, and the books are exact."""
    case.spawn(DTF_CONCURRENCY="4")
    task = case.create("sleep", [0.4] * 12, timeout=5)
    case.running(4)
    case.gateway.stop(forget=True)
    time.sleep(1.0)
    case.gateway.start()
    counts(case.end(task), succeeded=12)
    assert len(case.gateway.sessions) == 1, case.gateway.sessions


@scenario()
def late_success(case: Case) -> None:
    """A session that ends while items run: successes are reported in the next one and count, failures do not."""
    case.spawn(DTF_CONCURRENCY="2")
    task = case.create("sleep", [1.5, 1.5])
    case.running(2)
    case.gateway.expire()
    counts(case.end(task), succeeded=2)
    same(len(case.gateway.reports), 2, "the number of reported tickets")
    case.gateway.fault("report", "no_session")
    counts(case.end(case.create("square", range(0, 20))), succeeded=20)
    case.gateway.fault("report", "no_session")
    task = case.create("poison", [1])
    counts(case.end(task), failed=1)


@scenario()
def waits_too_long(case: Case) -> None:
    """Items that were fetched ahead by a worker that has become slow go to another one."""
    slow = case.spawn(DTF_CONCURRENCY="1")
    counts(case.end(case.create("square", range(0, 500))), succeeded=500)
    task = case.create("sleep", [4.0] * 6)
    case.begun(slow, 1)
    if sum(len(session.running) for session in case.gateway.sessions.values()) < 4:
        return counts(case.end(task), succeeded=6)  # On a machine so slow nothing was fetched ahead.
    other = case.spawn(DTF_CONCURRENCY="8")
    began = time.monotonic()
    counts(case.end(task), succeeded=6)
    assert time.monotonic() - began < 18, "the items ran one after the other"
    other.terminate()
    begun = case.drained(other).count("begun")
    assert begun >= 3, f"the other worker had {begun} items"


@scenario()
def clock_jump(case: Case) -> None:
    """The clock of the worker's machine jumps by a day and back: no timeout comes early, and nothing is sent twice."""
    if case.sdk == "go" or not LIBFAKETIME:
        why = "go does not ask the C library" if case.sdk == "go" else "libfaketime is missing: apt-get install libfaketime"
        raise Skipped(why)
    with tempfile.NamedTemporaryFile("w+") as offset:
        offset.write("+0\n")
        offset.flush()
        variables = {"FAKETIME_TIMESTAMP_FILE": offset.name, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        worker = case.spawn(DTF_CONCURRENCY="4", LD_PRELOAD=LIBFAKETIME[0], **variables)
        task = case.create("sleep", [0.6] * 12, timeout=20)
        for jump in ("+86400", "-86400", "+0"):
            case.begun(worker, 4)
            offset.seek(0)
            offset.truncate()
            offset.write(f"{jump}\n")
            offset.flush()
        counts(case.end(task), succeeded=12)
        same(max(case.gateway.reports.values()), 1, "the number of reports on an item")
        same(len(case.gateway.sessions), 1, "the number of sessions")


@scenario()
def other_gateway(case: Case) -> None:
    """With two gateways, a worker turns to the second one when the first does not answer, or has no executor."""
    first, second = case.gateway, Gateway()
    try:
        case.url = f"{first.url},{second.url}"
        case.spawn()
        case.until(lambda: first.sessions, "a session")
        first.stop()
        case.url = second.url
        task = case.create("square", range(0, 10))
        counts(case.end(task), succeeded=10)
    finally:
        second.stop()


@scenario(real=True)
def drain_by_signal(case: Case) -> None:
    """SIGTERM: what runs comes to its end and is reported, nothing more is taken, and the worker leaves."""
    worker = case.spawn(DTF_CONCURRENCY="2")
    task = case.create("sleep", [2.0] * 6)
    case.begun(worker, 2)
    worker.terminate()
    case.drained(worker)
    done = case.call("GET", f"/v1/tasks/{task}")["progress"]["succeeded"]
    assert case.fake is None or done == 2, f"{done} items were done"
    if case.fake is not None:
        same(len(case.gateway.left), 1, "the number of sessions that left")
        same(case.gateway.sessions, {}, "the sessions")
    case.spawn(DTF_CONCURRENCY="2")
    counts(case.end(task), succeeded=6)


@scenario()
def drain_by_service(case: Case) -> None:
    """The service asks a worker to leave while it runs something, and while it waits."""
    worker = case.spawn()
    task = case.create("sleep", [0.5])
    case.begun(worker, 1)
    case.gateway.drain()
    case.drained(worker)
    counts(case.end(task), succeeded=1)
    worker = case.spawn()
    case.until(lambda: case.gateway.sessions and case.gateway.calls["poll"] >= 4, "a poll that waits")
    case.gateway.drain()
    case.drained(worker)


@scenario(real=True)
def second_signal(case: Case) -> None:
    """A second signal ends a worker at once."""
    worker = case.spawn()
    task = case.create("sleep", [3600], timeout=1000)
    case.begun(worker, 1)
    worker.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert worker.poll() is None, "the first signal ended the worker"
    worker.send_signal(signal.SIGINT)
    # Its output ends with the last process that it has started.
    worker.communicate(timeout=20)
    same(worker.returncode, 128 + signal.SIGINT, "the exit code")
    case.call("POST", f"/v1/tasks/{task}/cancel")


@scenario()
def refused_worker(case: Case) -> None:
    """A worker whose token is refused ends and says why."""
    original = case.gateway.poll

    def refuse(call: Dict[str, Any], is_gone: Callable[[], bool]) -> Dict[str, Any]:
        from fake_gateway import Problem

        raise Problem("unauthenticated", "the token is unknown")

    case.gateway.poll = refuse  # type: ignore[method-assign]
    worker = case.spawn()
    assert worker.wait(PATIENCE) not in (0, None), "the worker did not fail"
    case.gateway.poll = original  # type: ignore[method-assign]
    case.logs.seek(0)
    assert "the token is unknown" in case.logs.read(), "the worker did not say why"


@scenario(real=True)
def client(case: Case) -> None:
    """The client creates one task though the answer is lost, watches it, reads results and failures, and feeds items once."""
    case.spawn()
    if case.fake is not None:
        case.gateway.fault("tasks", "lost")
        case.gateway.fault("events", "status")
        case.gateway.fault("results", "cut")
        case.gateway.fault("cancel", "lost")
        case.gateway.fault("items", "lost", times=2)
        case.gateway.fault("items", "full")
        case.gateway.fault("close", "lost")
    program = case.spawn("client")
    output, _ = program.communicate(timeout=PATIENCE)
    same(program.returncode, 0, "the exit code of the client")
    seen = json.loads(output)
    number = seen.pop("id")
    assert case.fake is None or number == 1, "the task was created twice"
    failures = seen.pop("failures")
    assert len(failures) == 3 and all("poison" in error for error in failures), failures
    wanted = {
        "name": "ünïcode ✓", "status": "completed", "succeeded": 3, "results": [1, 4, 9], "result": True, "failed": 3, "retried": 3,
        "paused": "paused", "resumed": "running", "cancelled": "cancelled", "fed": 5, "fed_again": 5, "fed_on": 6,
        "closed": "completed", "squares": [0, 1, 4, 9, 16, 25], "late": "not_allowed", "error": "not_found", "invalid": "invalid_request",
    }  # fmt: skip
    same(seen, wanted, "what the client saw")


@scenario(real=True)
def flow(case: Case) -> None:
    """A flow is created once though the answer is lost, watched, cancelled and retried; a schedule creates one, and a key is unique."""
    case.spawn()
    if case.fake is not None:
        case.gateway.fault("flows", "lost")
        case.gateway.fault("cancel", "lost")
        case.gateway.fault("retry", "lost")
    program = case.spawn("flow")
    output, _ = program.communicate(timeout=PATIENCE)
    same(program.returncode, 0, "the exit code of the client")
    seen = json.loads(output)
    if case.fake is not None:
        same(len(case.gateway.flows.flows), 4, "the number of flows")
    wanted = {
        # Items of `bad` fail for good. So what waits for its completion is skipped, and what waits for its failure or its end runs.
        "states": {**dict.fromkeys(("good", "next", "bad", "alarm", "clean"), "completed"), "never": "skipped"},
        "counts": {"tasks": 6, "waiting": 0, "running": 0, "completed": 4, "failed": 1, "cancelled": 0, "skipped": 1},
        "result": [9], "completed": False, "listed": True,
        "retried": {"bad": "completed", "never": "skipped"}, "retry_of": True,
        "paused": "paused", "cancelled": {"slow": "cancelled", "behind": "cancelled"},
        "unique": True, "refused": "invalid_request", "schedule": "@yearly", "schedule_listed": True, "schedule_paused": [True, False],
        "triggered": "completed", "deleted": "not_found",
    }  # fmt: skip
    for name, value in wanted.items():
        same(seen.get(name), value, f"what the client saw as {name}")


def extract(readme: Path, into: Path, url: str) -> List[str]:
    """Writes the files of a tutorial, which are its code blocks with a path, and returns their paths."""
    blocks = re.findall(r"^```\w+ (\S+)\n(.*?)^```$", readme.read_text("utf-8"), re.S | re.M)
    for path, text in blocks:
        file = into / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("http://127.0.0.1:7070", url).replace("./sdk/go", str(SDK / "go")), "utf-8")
    return [path for path, _ in blocks]


@scenario(real=True)
def tutorial(case: Case) -> None:
    """The programs of the README do what it says: real work on real files."""
    language, run = {
        "node": ("typescript", ["node", "{}.mjs"]),
        "go": ("go", ["go", "run", "-mod=mod", "./{}"]),
    }.get(case.sdk, ("python", [os.environ.get("PYTHON", sys.executable), "{}.py"]))
    files = [path for path in glob("/usr/share/doc/*/copyright") if os.path.exists(path)]
    assert files, "there is no /usr/share/doc/*/copyright"
    with tempfile.TemporaryDirectory() as directory:
        into = Path(directory)
        paths = extract(SDK / language / "README.md", into, case.url)
        same(len(paths), 3 + (language == "go"), f"the number of programs in {paths}")
        if language == "typescript":
            (into / "node_modules").mkdir()
            (into / "node_modules/dtf").symlink_to(SDK / "typescript")
        case.command = [part.format("worker") for part in run]
        environment = {**os.environ, "PYTHONPATH": str(SDK / "python"), "GOTOOLCHAIN": "local"}
        worker = subprocess.Popen(case.command, cwd=into, env=environment, stderr=case.logs, start_new_session=True)
        try:
            client, flow = (
                subprocess.run(
                    [part.format(program) for part in run],
                    cwd=into, env=environment, stdout=subprocess.PIPE, stderr=case.logs, timeout=PATIENCE, check=True,
                ).stdout.decode().splitlines()
                for program in ("client", "flow")
            )  # fmt: skip
        finally:
            # `go run` has a child, which is of the same group.
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    assert client[-2].startswith("failed: /no/such/file is not there"), client
    # In whatever order.
    wanted = ["alarm: completed", "more: completed", "publish: skipped", "words: completed"]
    same(sorted(" ".join(line.split()[:2]) for line in flow), wanted, "the output of the flow")
    number, words = (int(word) for word in client[-1].split() if word.isdigit())
    same(number, len(files), "the number of files")
    # Languages differ in what a space is, by a few words.
    counted = sum(len(Path(path).read_text("utf-8", "replace").split()) for path in files)
    assert abs(words - counted) <= counted // 1000, f"{words} words; there are {counted}"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--gateway", help="the URL of a real gateway")
    arguments.add_argument("--sdk", default="python,python-processes,python-asyncio,node,go")
    arguments.add_argument("--only", default="", help="scenarios, separated by commas")
    arguments.add_argument("--jobs", type=int, default=4, help="the number of scenarios that run at once")
    given = arguments.parse_args()
    names = [name for name in given.only.split(",") if name] or (REAL if given.gateway else list(SCENARIOS))
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        arguments.error(f"there is no scenario {unknown[0]!r}; there are {', '.join(SCENARIOS)}")
    passed, failed, skipped, missing = 0, 0, 0, 0
    lock = threading.Lock()

    def one(sdk: str, command: List[str], name: str) -> None:
        nonlocal passed, failed, skipped
        began, case = time.monotonic(), Case(sdk, command, given.gateway)
        error, why = "", ""
        try:
            SCENARIOS[name](case)
        except Skipped as reason:
            why = str(reason)
        except urllib.error.HTTPError as problem:
            error = f"{problem}: {problem.read()[:500]!r}"
        except Exception:
            error = traceback.format_exc()
        finally:
            case.close()
            if not error:
                case.logs.close()
        with lock:
            verdict = "FAILED" if error else "skip" if why else "ok"
            print(f"{verdict:6} {sdk:17} {name:22} {time.monotonic() - began:6.1f} s {why}".rstrip(), flush=True)
            if error:
                case.logs.seek(0)
                print(error + "--- the log of the workers\n" + case.logs.read()[-3000:], flush=True)
            passed, failed, skipped = passed + (verdict == "ok"), failed + bool(error), skipped + bool(why)

    with tempfile.TemporaryDirectory() as build:
        work = []
        for sdk in given.sdk.split(","):
            try:
                command = commands(sdk, Path(build))
                work += [(sdk, command, name) for name in names]
            except Missing as error:
                missing += 1
                print(f"MISSING {sdk}: {error}", file=sys.stderr, flush=True)
        work.reverse()

        def loop() -> None:
            while True:
                with lock:
                    if not work:
                        return
                    next_one = work.pop()
                one(*next_one)

        # Tasks of a real gateway share its workers.
        threads = [threading.Thread(target=loop) for _ in range(1 if given.gateway else given.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"{passed} passed, {failed} failed, {skipped} skipped" + (f", {missing} languages missing" if missing else ""))
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
