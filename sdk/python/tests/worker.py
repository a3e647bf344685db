"""The worker and the client of the scenarios: ``worker.py worker``, ``client`` or ``flow``, with the URL in ``DTF_URL``."""

import asyncio
import json
import logging
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from dtf import ApiError, Client, Context, FinalError, FlowBuilder, Unique, Worker

urls = os.environ["DTF_URL"].split(",")
mode = os.environ.get("DTF_MODE", "threads")
worker = Worker(urls, name=os.environ.get("DTF_NAME", "python"), version="test")


def offer(name, **options):
    """Offers a function, as a coroutine in the mode asyncio."""

    def decorate(call):
        async def coroutine(item, context: Context):
            if item == "hang":
                await asyncio.sleep(3600)
            if name in ("sleep", "hang"):
                print("begun\n", end="", flush=True)
                try:
                    await asyncio.sleep(item if name == "sleep" else 3600)
                except asyncio.CancelledError:
                    print("cancelled\n", end="", flush=True)
                    raise
                return "slept"
            if name == "steps":
                said = said_in_steps(context)
                for _ in said:
                    await asyncio.sleep(0.005)
                await asyncio.sleep(item)
                return "done"
            return call(item, context) if call.__code__.co_argcount == 2 else call(item)

        worker.function(name, **options)(coroutine if mode == "asyncio" else call)
        return call

    return decorate


@offer("echo")
def echo(item):
    return item


@offer("noop")
def noop(item):
    return None


@offer("square")
def square(item):
    return item * item


@offer("large")
def large(item):
    return "é" * item


@offer("flaky")
def flaky(item, context):
    if context.attempt == 0:
        raise RuntimeError("not at the first attempt")
    return [context.task > 0, context.attempt, len(context.key) > 0]


@offer("sleep")
def sleep(item, context):
    print("begun\n", end="", flush=True)
    try:
        context.sleep(item)
    except Exception:
        print("cancelled\n", end="", flush=True)
        raise
    return "slept"


def said_in_steps(context):
    """Says much of an item, and a last word that is cut."""
    for step in range(200):
        context.progress(step / 200, f"step {step} ✓")
        yield
    context.progress(1.5)
    context.log("✓" * 300)


@offer("steps")
def steps(item, context):
    for _ in said_in_steps(context):
        context.sleep(0.005)
    context.sleep(item)
    return "done"


@offer("hang", timeout=0.4)
def hang(item):
    time.sleep(3600)


@offer("mixed", timeout=2)
def mixed(item):
    if item == "hang":
        time.sleep(3600)
    if item == "crash":
        os.kill(os.getpid(), 9)
    return item


@offer("poison")
def poison(item):
    raise FinalError(f"poison {item}")


@offer("raise", retries=1)
def raises(item):
    raise ValueError(f"bad {item}")


@offer("unencodable")
def unencodable(item):
    return {"result": object()}


@offer("crash")
def crash(item):
    os.kill(os.getpid(), 9)


def client():
    """Goes through the client once, and prints what it saw as JSON."""
    seen = {}
    with Client(urls) as dtf:
        task = dtf.map("square", [1, 2, 3], sink="keep", name="ünïcode ✓", attempts=2)
        states = list(dtf.watch(task.id))
        seen["id"], seen["name"] = task.id, states[-1].name
        seen["status"], seen["succeeded"] = states[-1].status, states[-1].progress.succeeded
        seen["results"] = sorted(dtf.results(task.id, page=2))
        seen["result"] = dtf.result(task.id) is not None
        bad = dtf.wait(dtf.map("poison", ["ä", "b", "c"]).id, timeout=60)
        seen["failed"] = bad.progress.failed
        seen["failures"] = sorted(failure.error for failure in dtf.failures(bad.id, page=2))
        seen["retried"] = dtf.wait(dtf.retry(bad.id).id, timeout=60).progress.failed
        slow = dtf.map("sleep", [60, 60])
        seen["paused"] = dtf.pause(slow.id).status
        seen["resumed"] = dtf.resume(slow.id).status
        seen["cancelled"] = dtf.cancel(slow.id).id == slow.id and dtf.wait(slow.id).status
        queue = dtf.map("square", "items", sink="keep")
        seen["fed"] = dtf.feed(queue.id, iter(range(5)), producer="pröducer", batch=2)
        seen["fed_again"] = dtf.feed(queue.id, range(5), producer="pröducer", offset=0)
        seen["fed_on"] = dtf.feed(queue.id, [5], producer="pröducer")
        dtf.close_task(queue.id)
        seen["closed"] = dtf.wait(queue.id, timeout=60).status
        seen["squares"] = sorted(dtf.results(queue.id))
        try:
            dtf.feed(queue.id, [6])
        except ApiError as error:
            seen["late"] = error.code
        try:
            dtf.get(999_999)
        except ApiError as error:
            seen["error"] = error.code
        try:
            dtf.create("map", {"source": 7})
        except ApiError as error:
            seen["invalid"] = error.code
    print(json.dumps(seen))


def states(flow):
    """Returns the status of each task of a flow."""
    return {name: task.status for name, task in flow.tasks.items()}


def code(call):
    """Returns the code of the error of a call."""
    try:
        call()
    except ApiError as error:
        return error.code


def flow():
    """Goes through flows, schedules and unique keys once, and prints what it saw as JSON."""
    new = FlowBuilder("ünïcode ✓")
    good = new.map("good", "square", [1, 2, 3])
    new.map("next", "square", {"list": [good.result("/succeeded")]}, after=[good], sink="keep")
    bad = new.map("bad", "poison", ["ä", "b"])
    never = new.map("never", "square", [1], after=["good", bad])
    new.map("alarm", "square", [1], after=[bad.failed])
    new.map("clean", "square", [1], after=[bad.ended, never.ended])
    slow = FlowBuilder("slow")
    slow.map("behind", "square", [1], after=[slow.map("slow", "sleep", [60, 60])])
    wrong = FlowBuilder("wrong")
    wrong.task("wrong", "no such type")
    name = "jährlich ✓ " + os.environ.get("DTF_NAME", "python")
    with Client(urls) as dtf:
        ended = list(dtf.flows.watch(dtf.flows.create(new).id))[-1]
        seen = {"states": states(ended), "counts": ended.raw["counts"], "completed": ended.has_completed}
        seen["result"] = list(dtf.results(ended.tasks["next"].id))
        seen["listed"] = any(listed.id == ended.id for listed in dtf.flows.list())
        again = dtf.flows.wait(dtf.flows.retry(ended.id).id, timeout=60)
        seen["retried"], seen["retry_of"] = states(again), again.retry_of == ended.id
        steered = dtf.flows.create(slow)
        seen["paused"] = dtf.flows.pause(steered.id).tasks["slow"].status
        dtf.flows.resume(steered.id)
        dtf.flows.cancel(steered.id)
        seen["cancelled"] = states(dtf.flows.wait(steered.id, timeout=60))
        one = dtf.map("sleep", [60], unique=Unique(name))
        seen["unique"] = dtf.map("sleep", [60], unique=name).id == one.id
        dtf.cancel(one.id)
        seen["refused"] = code(lambda: dtf.flows.create(wrong))
        one_task = FlowBuilder()
        one_task.map("one", "square", [1])
        seen["schedule"] = dtf.schedules.create(name, "@yearly", flow=one_task).when
        seen["schedule_listed"] = any(schedule.name == name for schedule in dtf.schedules.list())
        seen["schedule_paused"] = [dtf.schedules.pause(name).paused, dtf.schedules.resume(name).paused]
        seen["triggered"] = dtf.wait(dtf.schedules.trigger(name).id, timeout=60).status
        dtf.schedules.delete(name)
        seen["deleted"] = code(lambda: dtf.schedules.get(name))
    print(json.dumps(seen))


if __name__ == "__main__":
    logging.basicConfig(level=os.environ.get("DTF_LOG", "WARNING"))
    if sys.argv[1] == "client":
        client()
    elif sys.argv[1] == "flow":
        flow()
    else:
        worker.run(int(os.environ.get("DTF_CONCURRENCY", "8")), processes=mode == "processes")
        print("drained", flush=True)
