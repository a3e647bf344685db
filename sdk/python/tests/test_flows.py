"""Tests of flows, schedules and unique keys that need no gateway."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from dtf import Client, Flow, FlowBuilder, FlowCondition, Schedule, Unique


class Builder(unittest.TestCase):
    def test_a_flow_is_written_as_the_api_takes_it(self):
        flow = FlowBuilder("nightly")
        one = flow.map("one", "square", range(3), sink="keep")
        two = flow.task("two", "noop", {"count": one.result("/succeeded")}, after=[one], group="reports")
        flow.task("three", "noop", after=["one", two.ended, two.failed, FlowCondition("two", "completed")])
        described = flow.describe()
        self.assertEqual((described["name"], list(described["tasks"])), ("nightly", ["one", "two", "three"]))
        param = described["tasks"]["one"]["param"]
        self.assertEqual((param["source"], param["sink"]), ({"range": {"from": 0, "to": 3}}, "keep"))
        self.assertNotIn("after", described["tasks"]["one"])
        count = {"$result": "/succeeded", "of": "one"}
        after = [{"task": "one", "when": "completed"}]
        self.assertEqual(described["tasks"]["two"], {"type": "noop", "param": {"count": count}, "after": after, "group": "reports"})
        waits = [("one", "completed"), ("two", "ended"), ("two", "failed"), ("two", "completed")]
        self.assertEqual([(on["task"], on["when"]) for on in described["tasks"]["three"]["after"]], waits)

    def test_what_cannot_be_a_flow_is_refused_where_it_is_written(self):
        flow = FlowBuilder()
        one = flow.task("one", "noop")
        for wrong, why in [
            (lambda: flow.task("one", "noop"), "in the flow twice"),
            (lambda: flow.task("two", "noop", after=["three"]), "'three', which is not in the flow yet; earlier tasks: one"),
            (lambda: flow.task("two", "noop", after=["two"]), "'two', which is not in the flow yet"),
            (lambda: one.result("succeeded"), "no JSON pointer"),
        ]:
            with self.assertRaisesRegex(ValueError, why):
                wrong()
        with self.assertRaisesRegex(TypeError, r"\['one'\]"):
            flow.task("two", "noop", after="one")
        self.assertEqual(list(flow.describe()["tasks"]), ["one"])


class Answers(unittest.TestCase):
    def test_a_flow_has_its_tasks_by_name_and_knows_its_end(self):
        task = {"id": 2, "type": "noop", "name": "", "group": "g", "status": "skipped", "reason": "why", "flow_task": "two"}
        counts = {"tasks": 2, "waiting": 0, "running": 0, "completed": 1, "failed": 0, "cancelled": 0, "skipped": 1}
        flow = Flow.of({"id": 7, "name": "n", "counts": counts, "retry_of": None, "tasks": [task]})
        self.assertEqual((flow.has_ended, flow.has_completed, flow.tasks["two"].status), (True, False, "skipped"))
        self.assertFalse(Flow.of({"id": 7, "name": "n", "counts": {**counts, "waiting": 1}}).has_ended)

    def test_a_schedule_keeps_the_whole_answer(self):
        raw = {"name": "n", "when": "@daily", "words": "w", "zone": "UTC", "paused": False, "upcoming": [1], "history": []}
        schedule = Schedule.of(raw)
        self.assertEqual((schedule.upcoming, schedule.raw["history"]), ([1], []))


class Arguments(unittest.TestCase):
    def test_a_schedule_has_a_task_or_a_flow(self):
        with self.assertRaisesRegex(ValueError, "no task and no flow"):
            Client().schedules.create("n", "@daily")
        with self.assertRaisesRegex(ValueError, "a task and a flow"):
            Client().schedules.create("n", "@daily", task={"type": "noop"}, flow=FlowBuilder())

    def test_a_unique_key_is_written_as_the_api_takes_it(self):
        self.assertEqual(Unique("k").describe(), {"key": "k", "while": "running"})
        self.assertEqual(Unique("k", "period", 1.5).describe(), {"key": "k", "while": "period", "period_ms": 1500})


if __name__ == "__main__":
    unittest.main()
