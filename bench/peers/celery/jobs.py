"""The Celery application of the benchmark."""

import os
import time

from celery import Celery

URL = os.environ["BENCH_REDIS"]
app = Celery("jobs", broker=URL, backend=URL)
app.conf.update(
    task_default_queue="bench",
    # For many short jobs its guide recommends a large prefetch; for long ones a small one.
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "4")),
    broker_connection_retry_on_startup=True,
)


@app.task(ignore_result=True)
def noop(body):
    pass


@app.task(ignore_result=True)
def wait(body):
    time.sleep(0.03)


@app.task
def recorded(body):
    return 0
