"""Jobs on Celery: `main.py WORKLOAD JOBS REDIS_URL` prints one JSON object.

No-ops run on the default pool with a process for each core, jobs that wait on gevent with 1,024 greenlets, as its guide
recommends for each. By default Celery acknowledges a job before it runs.
"""

import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

WORKLOAD, JOBS, URL = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.environ["BENCH_REDIS"] = URL
CLIENTS = 64

import jobs as application  # noqa: E402  (it reads the environment)

app = application.app


def body(job):
    return f"{job:064d}"


def start_worker(pool, concurrency, prefetch):
    """Starts a worker and waits until it answers."""
    command = [sys.executable, "-m", "celery", "-A", "jobs", "worker", "-P", pool, "-c", str(concurrency),
               "-l", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    # Run by root, as in a container, it would warn at length.
    environment = {**os.environ, "BENCH_PREFETCH": str(prefetch), "PYTHONWARNINGS": "ignore"}
    worker = subprocess.Popen(command, env=environment, cwd=os.path.dirname(os.path.abspath(__file__)),
                              stdout=subprocess.DEVNULL, start_new_session=True)
    while not app.control.ping(timeout=1.0):
        if worker.poll() is not None:
            sys.exit("the worker of Celery ended")
    return worker


def cpu_seconds(session):
    """The time of this process and of all processes of a session."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    total = own.ru_utime + own.ru_stime
    ticks = os.sysconf("SC_CLK_TCK")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def enqueue(task, clients):
    if clients == 1:
        for job in range(JOBS):
            task.delay(body(job))
        return
    with ThreadPoolExecutor(clients) as pool:
        for _ in pool.map(lambda job: task.delay(body(job)), range(JOBS)):
            pass


def throughput(task, pool, concurrency, prefetch, clients):
    """Measures from the first job until the worker has counted the last one and runs none."""
    worker = start_worker(pool, concurrency, prefetch)
    inspect = app.control.inspect(timeout=5.0)
    try:
        begin, cpu = time.perf_counter(), cpu_seconds(worker.pid)
        enqueue(task, clients)

        def accepted():
            stats = inspect.stats() or {}
            return sum(node["total"].get(task.name, 0) for node in stats.values())

        def active():
            return sum(len(running) for running in (inspect.active() or {"": [0]}).values())

        # An inspection returns at its timeout unless it is told how many answer.
        inspect.limit = 1
        while accepted() < JOBS or active() > 0:
            time.sleep(0.02)
        seconds, used = time.perf_counter() - begin, cpu_seconds(worker.pid) - cpu
    finally:
        worker.terminate()
        worker.wait()
    return {"jobs_per_s": JOBS / seconds, "client_us_per_job": used * 1e6 / JOBS}


def latency():
    """Measures from sending a job until its recorded result is there, one job after the other."""
    worker = start_worker("prefork", os.cpu_count(), 4)
    times = []
    try:
        for job in range(JOBS):
            begin = time.perf_counter()
            application.recorded.delay(body(job)).get(timeout=60)
            times.append((time.perf_counter() - begin) * 1000)
    finally:
        worker.terminate()
        worker.wait()
    times.sort()
    return {"p50_ms": times[len(times) // 2], "p99_ms": times[len(times) * 99 // 100]}


def waiting():
    enqueue(application.noop, 1)
    return {"jobs": JOBS}


WORKLOADS = {
    "noop": lambda: throughput(application.noop, "prefork", os.cpu_count(), 128, 1),
    "single": lambda: throughput(application.noop, "prefork", os.cpu_count(), 128, CLIENTS),
    "wait": lambda: throughput(application.wait, "gevent", 1024, 4, 1),
    "latency": latency,
    "waiting": waiting,
}

if WORKLOAD not in WORKLOADS:
    sys.exit("usage: main.py noop|wait|single|latency|waiting JOBS REDIS_URL")
print(json.dumps(WORKLOADS[WORKLOAD]()))
