#!/usr/bin/env python3
"""Measures how many items a second workers run whose function does nothing.

``throughput.py --gateway URL --sdk python,go --items 200000 --workers 2``. Without a gateway the fake one is
used, which is the slowest part then.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from run import Case, Missing, commands


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--gateway", help="the URL of a real gateway")
    arguments.add_argument("--sdk", default="python,python-asyncio,node,go")
    arguments.add_argument("--items", type=int, default=100_000)
    arguments.add_argument("--workers", type=int, default=1, help="the number of processes that work")
    arguments.add_argument("--concurrency", type=int, default=8)
    arguments.add_argument("--runs", type=int, default=3)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as build:
        for sdk in given.sdk.split(","):
            try:
                command = commands(sdk, Path(build))
            except Missing as error:
                print(f"MISSING {sdk}: {error}", file=sys.stderr)
                continue
            case = Case(sdk, command, given.gateway)
            try:
                for _ in range(given.workers):
                    case.spawn(DTF_CONCURRENCY=str(given.concurrency))
                case.end(case.create("noop", range(0, 1000)))
                rates = []
                for _ in range(given.runs):
                    began = time.monotonic()
                    progress = case.end(case.create("noop", range(0, given.items)))
                    rates.append(given.items / (time.monotonic() - began))
                    assert progress["succeeded"] == given.items, progress
                runs = ", ".join(f"{rate:,.0f}" for rate in rates)
                print(f"{sdk:17} {given.workers} workers: {runs} items/s", flush=True)
            finally:
                case.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
