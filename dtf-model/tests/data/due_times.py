#!/usr/bin/env python3
"""Writes due_times.json: due times of cron expressions, found by walking through time.

Another implementation than the one that is tested: no search and no arithmetic of dates. Each instant of a period is taken in turn,
its wall-clock time comes from zoneinfo, and an expression is due at it
- if the wall clock shows a time that fits, and shows it for the first time (fold 0), or
- if the wall clock has just gone forward, over a time that fits.

Usage: python3 due_times.py > due_times.json
"""

import calendar
import json
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
DAYS = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}


def numbers(field, low, high, names={}):
    found = set()
    for part in field.split(","):
        part, _, step = part.partition("/")
        if part == "*":
            first, last = low, high
        else:
            first, _, last = part.partition("-")
            first = int(names.get(first, first))
            last = int(names.get(last, last)) if last else (high if step else first)
        found.update(range(first, last + 1, int(step or 1)))
    return found


class Cron:
    def __init__(self, text):
        fields = text.upper().split()
        if len(fields) == 5:
            fields = ["0"] + fields
        second, minute, hour, day, month, weekday = fields
        self.seconds = numbers(second, 0, 59)
        self.minutes = numbers(minute, 0, 59)
        self.hours = numbers(hour, 0, 23)
        self.months = numbers(month, 1, 12, MONTHS)
        self.any_day, self.any_weekday = day == "*", weekday == "*"
        self.last_day = day == "L"
        self.days = set() if self.last_day else numbers(day, 1, 31)
        self.nth = None
        if "#" in weekday:
            weekday, nth = weekday.split("#")
            self.nth = int(nth)
        self.weekdays = {day % 7 for day in numbers(weekday, 0, 7 if weekday != "*" else 6, DAYS)}

    def fits(self, at):
        if at.second not in self.seconds or at.minute not in self.minutes or at.hour not in self.hours:
            return False
        if at.month not in self.months:
            return False
        day = at.day in self.days or (self.last_day and (at + timedelta(days=1)).month != at.month)
        weekday = (at.weekday() + 1) % 7 in self.weekdays
        if self.nth:
            weekday = weekday and (at.day - 1) // 7 + 1 == self.nth
        if self.any_day and self.any_weekday:
            return True
        if self.any_day:
            return weekday
        if self.any_weekday:
            return day
        return day or weekday


def walk(zone, begin, end, step, expressions):
    """The due times of each expression in a period, which begins behind `begin`."""
    zone = ZoneInfo(zone)
    crons = [(text, Cron(text), []) for text in expressions]
    step = timedelta(seconds=step)
    before = begin.astimezone(zone).replace(tzinfo=None)
    at = begin + step
    while at <= end:
        local = at.astimezone(zone)
        wall = local.replace(tzinfo=None, fold=0)
        skipped, gap = [], before + step
        while gap < wall:
            skipped.append(gap)
            gap += step
        for _, cron, due in crons:
            shown = local.fold == 0 and cron.fits(wall)
            if shown or any(cron.fits(time) for time in skipped):
                due.append(int(at.timestamp()) * 1000)
        before = wall
        at += step
    return [(text, due) for text, _, due in crons]


def utc(*parts):
    return datetime(*parts, tzinfo=timezone.utc)


NIGHTLY = ["*/15 * * * *", "30 2 * * *", "30 1 * * *", "0 * * * *", "15,45 1-3 * * *", "0 0 * * *", "59 23 * * *", "7 */5 * * *",
           "0 3 * * *", "0 2 * * *", "10-20/5 2 * * SUN"]
SPARSE = ["0 0 29 2 *", "0 0 L * *", "0 12 31 * *", "30 6 30 4,6,9,11 *", "0 0 1 1 *", "0 0 13 * 5", "0 9 * * MON#2", "30 2 * MAR,OCT 0",
          "0 18 * * FRI#5", "5 4 28-31 2 *", "0 0 1 */3 7"]
PERIODS = [
    # Summer time begins and ends, in the north, with half an hour in the south, and with a day that was left out.
    ("Europe/Berlin", utc(2026, 3, 28, 12), utc(2026, 3, 30), 60, NIGHTLY),
    ("Europe/Berlin", utc(2026, 10, 24, 12), utc(2026, 10, 26), 60, NIGHTLY),
    ("America/New_York", utc(2027, 3, 13, 12), utc(2027, 3, 15), 60, NIGHTLY),
    ("America/New_York", utc(2027, 11, 6, 12), utc(2027, 11, 8, 6), 60, NIGHTLY),
    ("Australia/Lord_Howe", utc(2026, 4, 4), utc(2026, 4, 6), 60, NIGHTLY),
    ("Australia/Lord_Howe", utc(2026, 10, 2), utc(2026, 10, 4), 60, NIGHTLY),
    ("Pacific/Apia", utc(2011, 12, 29), utc(2012, 1, 1), 60, NIGHTLY),
    ("Asia/Kolkata", utc(2026, 6, 1), utc(2026, 6, 2), 60, NIGHTLY),
    ("Europe/Berlin", utc(2028, 3, 26, 0), utc(2028, 3, 26, 2), 1, ["*/20 * * * * *", "30 59 1 * * *", "0 30 2 * * *", "5 0 3 * * *"]),
    ("America/New_York", utc(2028, 11, 5, 4), utc(2028, 11, 5, 8), 1, ["*/50 * * * * *", "30 30 1 * * *", "15 */20 1-2 * * *"]),
    ("Europe/Berlin", utc(2023, 12, 31), utc(2029, 1, 2), 60, SPARSE),
    ("America/New_York", utc(2027, 6, 1), utc(2032, 7, 1), 60, SPARSE),
    ("UTC", utc(2099, 1, 1), utc(2104, 4, 1), 60, ["0 0 29 2 *", "0 0 L 2 *"]),
]

table = []
for zone, begin, end, step, expressions in PERIODS:
    for text, due in walk(zone, begin, end, step, expressions):
        ends = [int(moment.timestamp()) * 1000 for moment in (begin, end)]
        table.append({"zone": zone, "when": text, "after": ends[0], "until": ends[1], "due": due})
print("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in table) + "\n]")
