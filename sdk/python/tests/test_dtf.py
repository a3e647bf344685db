"""Tests of what needs no gateway: ``python3 -m unittest discover -s tests``."""

import io
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from dtf import ApiError, Client, ConnectionFailed, FinalError, Worker
from dtf._engine import Engine
from dtf._http import Backoff, events, read, urls_of
from dtf._item import MAX_RESULT, Function, Item, encode, run
from dtf.task import Task


def item(attempt=0, retries=None, timeout=None):
    function = Function("f", lambda item: item, timeout, retries, False, False)
    given = {"ticket": "t", "body": 1, "task": 7, "key": "7-1-1", "attempt": attempt, "timeout_ms": 5000}
    return Item(given, function, "s", 0.0)


class Response(io.BytesIO):
    """An answer."""

    reason = "Reason"

    def __init__(self, status, data, **headers):
        super().__init__(data)
        self.status, self.headers = status, headers

    def getheader(self, name, default):
        return self.headers.get(name.replace("-", "_"), default)


class Outcomes(unittest.TestCase):
    def test_a_result_is_compact_json_in_utf_8(self):
        data, _, _ = encode({"ключ": [1, None, "🦀"]})
        self.assertEqual(data, '{"ключ":[1,null,"🦀"]}')
        ended = item()
        ended.settle((data, "", False))
        self.assertEqual(ended.report, '{"ticket":"t","result":{"ключ":[1,null,"🦀"]}}')

    def test_what_is_no_json_is_a_final_error(self):
        deep = []
        deep.append(deep)
        for value in (object(), {1, 2}, float("nan"), "\ud800", b"bytes", deep):
            data, error, retryable = encode(value)
            self.assertIsNone(data)
            self.assertIn("the result is no JSON", error)
            self.assertFalse(retryable)

    def test_a_result_has_at_most_1_mib(self):
        self.assertIsNotNone(encode("x" * (MAX_RESULT - 2))[0])
        data, error, retryable = encode("x" * (MAX_RESULT - 1))
        self.assertIsNone(data)
        self.assertIn(f"at most {MAX_RESULT}", error)
        self.assertFalse(retryable)

    def test_an_exception_is_retryable_unless_it_is_final(self):
        def fail(error):
            raise error

        _, error, retryable = run(fail, ValueError("bad"))
        self.assertTrue(retryable)
        self.assertRegex(error, r"^ValueError: bad \(at .*test_dtf.py:\d+\)$")
        self.assertEqual(run(fail, FinalError("never")), (None, "never", False))
        self.assertTrue(run(fail, SystemExit(1))[2])

    def test_the_retries_of_a_function_bound_the_attempts(self):
        retryable = [json.loads(item(attempt, retries=1).fail("e", True))["retryable"] for attempt in (0, 1, 2)]
        self.assertEqual(retryable, [True, False, False])
        self.assertFalse(json.loads(item(0, retries=5).fail("e", False))["retryable"])

    def test_an_error_is_cut_and_is_valid_unicode(self):
        report = json.loads(item().fail("\ud800" + "x" * 10_000, True))
        self.assertEqual(len(report["error"]), 4096)
        self.assertEqual(report["error"][0], "?")

    def test_the_shorter_timeout_counts(self):
        self.assertEqual(item(timeout=1).timeout, 1)
        self.assertEqual(item(timeout=60).timeout, 5)


class Arguments(unittest.TestCase):
    def test_urls_are_checked(self):
        self.assertEqual(urls_of("http://a:1/"), ["http://a:1"])
        for wrong in ("localhost:7070", "ftp://a", "http://", []):
            with self.assertRaises(ValueError):
                urls_of(wrong)

    def test_functions_are_checked(self):
        worker = Worker()
        worker.function("one")(lambda item: item)
        with self.assertRaisesRegex(ValueError, "offered twice"):
            worker.function("one")(lambda item: item)
        with self.assertRaisesRegex(TypeError, "takes 3 arguments"):
            worker.function("three")(lambda a, b, c: a)
        for options in ({"timeout": 0}, {"retries": -1}):
            with self.assertRaises(ValueError):
                worker.function("two", **options)
        with self.assertRaisesRegex(ValueError, "concurrency is 0"):
            worker.run(0)
        with self.assertRaisesRegex(ValueError, "no function"):
            Worker().run()

    def test_a_function_stays_as_it_is(self):
        @Worker().function()
        def double(item):
            return 2 * item

        self.assertEqual(double(4), 8)

    def test_a_range_counts_upwards(self):
        with self.assertRaises(ValueError):
            Client().map("f", range(10, 0, -1))


class Answers(unittest.TestCase):
    def test_a_problem_is_an_error_with_a_code(self):
        problem = b'{"code": "too_many_attempts", "detail": "d", "status": 429, "title": "t"}'
        with self.assertRaises(ApiError) as raised:
            read(Response(429, problem, Retry_After="7"), problem)
        error = raised.exception
        self.assertEqual((error.code, error.detail, error.retry_after, error.is_retryable), ("too_many_attempts", "d", 7.0, True))
        self.assertGreaterEqual(Backoff().next(error), 7.0)

    def test_garbage_is_no_answer(self):
        with self.assertRaises(ConnectionFailed):
            read(Response(200, b""), b"<html>\xff")

    def test_pauses_grow_to_5_seconds(self):
        backoff = Backoff()
        pauses = [backoff.next() for _ in range(2000)]
        self.assertLess(pauses[0], 0.05)
        self.assertTrue(all(1.25 <= pause <= 5.0 for pause in pauses[10:]))

    def test_events_have_a_name_and_lines_of_data(self):
        stream = Response(200, b": comment\n\nevent: task\ndata: {}\n\ndata: one\r\ndata: two\n\nevent: lost\ndata: x")
        self.assertEqual(list(events(stream)), [("task", "{}"), ("message", "one\ntwo")])

    def test_a_task_without_progress_has_zeros(self):
        raw = {"id": 1, "type": "map", "name": "", "group": "g", "status": "created", "reason": "", "progress": None}
        self.assertEqual(Task.of(raw).progress.ended, 0)


class Held(list):
    """Slots that have items and run none."""

    @property
    def waiting(self):
        return self

    def running(self):
        return []


def hold(engine, count):
    engine._all[0].extend(item() for _ in range(count))


class Prefetch(unittest.TestCase):
    def engine(self, prefetch, mean):
        engine = Engine({}, ["http://127.0.0.1:1"], None, {}, 4, False, prefetch)
        engine._all = [Held()]
        engine._mean = mean
        return engine

    def test_slow_functions_fetch_nothing_ahead(self):
        engine = self.engine(None, 1.0)
        self.assertEqual(engine._wanted(), 4)
        hold(engine, 4)
        self.assertEqual(engine._wanted(), 0)

    def test_fast_functions_fetch_the_work_of_20_ms_ahead(self):
        engine = self.engine(None, 0.001)
        self.assertEqual(engine._wanted(), 84)
        hold(engine, 44)
        self.assertEqual(engine._wanted(), 40)
        hold(engine, 1)
        self.assertEqual(engine._wanted(), 0)

    def test_an_answer_has_at_most_1000_items(self):
        self.assertEqual(self.engine(None, 0.0)._wanted(), 1000)


if __name__ == "__main__":
    unittest.main()
