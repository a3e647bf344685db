"""DTF in Python: a client for tasks, and workers whose functions run on their items.

>>> from dtf import Client, Worker
>>> worker = Worker("http://127.0.0.1:7070")
>>> @worker.function("square", timeout=30, retries=3)
... def square(item):
...     return item * item

``worker.run(concurrency=8)`` serves until SIGTERM. ``Client().map("square", range(1000))`` creates a task for it.
"""

from ._item import Context
from .client import Client
from .errors import ApiError, Cancelled, ConnectionFailed, DtfError, FinalError, RetryableError
from .flows import Flow, FlowBuilder, FlowCondition, FlowCounts, FlowTask
from .schedules import Schedule
from .task import Failure, Progress, Task, Unique
from .worker import Worker

__all__ = [
    "ApiError",
    "Cancelled",
    "Client",
    "ConnectionFailed",
    "Context",
    "DtfError",
    "Failure",
    "FinalError",
    "Flow",
    "FlowBuilder",
    "FlowCondition",
    "FlowCounts",
    "FlowTask",
    "Progress",
    "RetryableError",
    "Schedule",
    "Task",
    "Unique",
    "Worker",
]
__version__ = "0.1.0"
