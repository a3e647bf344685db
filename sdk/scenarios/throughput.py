#!/usr/bin/env python3
"""Measures how many items a second workers run whose function does nothing, and the processor time of the workers for each.

``throughput.py --gateway URL --sdk python,go --items 200000 --workers 2`` measures them with a service. Without one, a program in Go takes
its place that gives items as fast as it is asked (see go/internal/fast): then workers are the slowest part.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, List, Optional

from run import SDK, Case, Missing, commands


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--gateway", help="the URL of a service")
    arguments.add_argument("--sdk", default="python,python-processes,python-asyncio,node,go")
    arguments.add_argument("--items", type=int, default=200_000)
    arguments.add_argument("--in-hand", type=int, default=4000, help="the most items that workers have, where there is no service")
    arguments.add_argument("--workers", type=int, default=1, help="the number of programs that work")
    arguments.add_argument("--concurrency", type=int, default=8)
    arguments.add_argument("--runs", type=int, default=5)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as build:
        for sdk in given.sdk.split(","):
            try:
                command = commands(sdk, Path(build))
                fast = None if given.gateway else start_fast(Path(build), given.items, given.in_hand)
            except Missing as error:
                print(f"MISSING {sdk}: {error}", file=sys.stderr)
                continue
            url = given.gateway if fast is None else fast.stdout.readline().strip()
            case = Case(sdk, command, url)
            try:
                for _ in range(given.workers):
                    case.spawn(DTF_CONCURRENCY=str(given.concurrency))
                rounds = with_service(case, given.items) if fast is None else map(float, fast.stdout)
                next(rounds)  # What was never asked for is made now.
                before, rates = processor_time(case), [next(rounds) for _ in range(given.runs)]
                each = (processor_time(case) - before) / given.items / given.runs * 1e6
                runs = ", ".join(f"{rate:,.0f}" for rate in rates)
                median = statistics.median(rates)
                print(f"{sdk:17} {given.workers} workers: {median:,.0f} items/s ({runs}), {each:.1f} us an item", flush=True)
            finally:
                case.close()
                if fast is not None:
                    fast.kill()
                    fast.wait()
    return 0


def start_fast(build: Path, items: int, in_hand: int) -> subprocess.Popen[str]:
    """Starts the program that takes the place of a service."""
    program = build / "fast"
    if not program.exists():
        try:
            subprocess.run(["go", "build", "-o", str(program), "./internal/fast"], cwd=SDK / "go", check=True)
        except FileNotFoundError as error:
            raise Missing("go, of which the gateway of this measurement is, is not installed; or give --gateway") from error
    return subprocess.Popen([str(program), str(items), str(in_hand)], stdout=subprocess.PIPE, text=True)


def with_service(case: Case, items: int) -> Iterator[float]:
    """Runs tasks of a service, and returns the rate of each."""
    case.end(case.create("noop", range(0, 1000), sink="count"))
    yield 0.0
    while True:
        began = time.monotonic()
        progress = case.end(case.create("noop", range(0, items), sink="count"))
        assert progress["succeeded"] == items, progress
        yield items / (time.monotonic() - began)


def processor_time(case: Case) -> float:
    """Returns the processor time of the workers and of their processes, in seconds."""
    return sum(time_of(pid) for worker in case.workers for pid in family(worker.pid))


def family(pid: int) -> List[int]:
    """Returns a process and those that it has started."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(other for file in children for child in file.read_text().split() for other in family(int(child)))]


def time_of(pid: int) -> float:
    fields = stat_of(pid)
    return 0.0 if fields is None else (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stat_of(pid: int) -> Optional[List[str]]:
    """Returns what the system says of a process, from its state on; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(main())
