# SPDX-License-Identifier: Apache-2.0
"""What the analytics must answer, computed from the list of events in the plainest way."""
import collections
import datetime
import decimal
import json
import random
import zoneinfo
from decimal import ROUND_HALF_UP, Decimal

UTC = datetime.timezone.utc
DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)
CALLS = ("api_call", "tool_execution")

decimal.getcontext().prec = 400  # sums are exact here too

Event = collections.namedtuple("Event", "type value user_id time metadata", defaults=[None])


def parse_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def time_text(time):
    """As answers write it."""
    time = time.astimezone(UTC).replace(tzinfo=None)
    return time.isoformat(timespec="microseconds" if time.microsecond else "seconds") + "Z"


def day_start(date):
    return datetime.datetime.combine(date, datetime.time(), UTC)


def rounded(number, digits=6):
    return Decimal(number).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def ratio(total, count):
    return rounded(Decimal(total) / count) if count else Decimal(0)


TYPES = ["api_call", "tool_execution", "cost", "session", "page.view"]
DECIMALS = ["0.1", "0.2", "12345678901234567890.123", "-12345678901234567890.123", "-0.000001", "1E-7", "3.50", "0", "-7"]
METADATA = [None, {}, {"plan": "free"}, {"plan": "pro", "region": "eu"}, {"plan": None}, {"plan": 3}, {"plan": 1.5},
            {"plan": True}, {"plan": ["a", 1]}, {"plan": {"b": 1, "aa": "x"}}, {"plan": ""}, {"plan": "null"},
            {"plan": "Ünder 🙂"}, {"plan.tier": "a"}, {"region": "us", "plan.tier": "b"}]


def random_event(source, now, days):
    """Between `days` days before `now` and just before it."""
    value = source.choice([Decimal(source.choice(DECIMALS)), Decimal(source.randint(-500, 5000)) / 100])
    time = now - datetime.timedelta(microseconds=source.randint(1, days * 86400 * 10**6))
    edge = source.randint(0, 9)
    if edge == 0:
        time = time.replace(minute=0, second=0, microsecond=0)
    elif edge == 1:
        time = time.replace(hour=0, minute=0, second=0, microsecond=0)
    elif edge == 2:
        time = time.replace(hour=23, minute=59, second=59, microsecond=999999) - DAY
    return Event(source.choice(TYPES), value, f"user-{source.randint(1, 9)}", time, source.choice(METADATA))


class Model:
    """The events of one workspace, as far as a test sent them."""

    def __init__(self, user):
        self.user = user
        self.events = []

    def send(self, events):
        """Record them by batches; the answer to each must be plain."""
        events = [e._replace(value=Decimal(str(e.value))) for e in events]
        for start in range(0, len(events), 1000):
            part = events[start:start + 1000]
            texts = ['{"type": "%s", "value": %s, "user_id": %s, "timestamp": "%s", "metadata": %s}' % (
                e.type, e.value, json.dumps(e.user_id), e.time.isoformat(), json.dumps(e.metadata)) for e in part]
            answer = self.user.post("/analytics/metrics/batch", data='{"events": [%s]}' % ",".join(texts))
            assert answer.json() == {"accepted": len(part), "duplicates": 0, "rejected": []}, answer
        self.events += events
        return self

    def add(self, type="api_call", value=1, user_id="u", time=None, days_ago=0):
        time = time or datetime.datetime.now(UTC) - days_ago * DAY
        return self.send([Event(type, value, user_id, time)])

    def add_random(self, count, days=20, seed=1):
        """Events spread over the last days, never in the future, one of them now: a day may have just begun."""
        source = random.Random(seed)
        now = datetime.datetime.now(UTC)
        events = []
        for _ in range(count):
            type = source.choice(["api_call", "tool_execution", "cost", "session", "page.view"])
            value = Decimal(source.randint(-5, 500)) / source.choice([1, 2, 10, 100])
            time = now - datetime.timedelta(seconds=source.randint(1, days * 86400)) if events else now
            events.append(Event(type, value, f"user-{source.randint(1, 9)}", time))
        return self.send(events)

    def add_mixture(self, count, days=20, seed=1):
        """Events over the last days that no shortcut gets right: decimals of any size, negative ones, metadata
        of all sorts, moments on the edges of hours and days."""
        source = random.Random(seed)
        now = datetime.datetime.now(UTC)
        return self.send([random_event(source, now, days) for _ in range(count)])

    def in_days(self, start, days):
        """The events of some days from the date `start` on, in UTC."""
        return self.between(day_start(start), day_start(start) + days * DAY)

    def between(self, start, end):
        return [e for e in self.events if start <= e.time < end]

    def in_period_of(self, body):
        """The events of the period that an answer names."""
        return self.between(parse_time(body["period_start"]), parse_time(body["period_end"]))


def overview(events):
    users = {e.user_id for e in events}
    calls = sum(e.type == "api_call" for e in events)
    sessions = [e.value for e in events if e.type == "session"]
    cost = sum((e.value for e in events if e.type == "cost"), Decimal(0))
    hours = collections.Counter(e.time.hour for e in events)
    return {
        "total_metrics": len(events),
        "active_users": len(users),
        "api_calls": calls,
        "tool_executions": sum(e.type == "tool_execution" for e in events),
        "sessions": len(sessions),
        "avg_session_duration": ratio(sum(sessions), len(sessions)),
        "total_cost": cost,
        "cost_per_user": ratio(cost, len(users)),
        "avg_api_calls_per_user": ratio(calls, len(users)),
        "peak_usage_hour": min(hours, key=lambda hour: (-hours[hour], hour)) if hours else None,
    }


def usage(events, user_id):
    mine = overview([e for e in events if e.user_id == user_id])
    return {k: mine[k] for k in ("api_calls", "tool_executions", "total_cost", "sessions", "avg_session_duration")}


def costs(events, group_by):
    """Items, highest first, equal ones by their key."""
    sums, counts = collections.defaultdict(Decimal), collections.Counter()
    for e in events:
        if e.type == "cost":
            key = e.user_id if group_by == "user" else e.time.date().isoformat()
            sums[key] += e.value
            counts[key] += 1
    name = "user_id" if group_by == "user" else "day"
    return [{name: key, "cost": sums[key], "events": counts[key]} for key in sorted(sums, key=lambda k: (-sums[k], k))]


def _change(now, before):
    percent = rounded(100 * Decimal(now - before) / abs(before), 2) if before else None
    return {"previous": before, "difference": now - before, "percent": percent}


def report(model, date):
    start = datetime.datetime.combine(date, datetime.time(), UTC)
    today, before = model.between(start, start + DAY), model.between(start - DAY, start)
    now, then = overview(today), overview(before)
    by_type, by_user = collections.defaultdict(list), collections.defaultdict(list)
    for e in today:
        by_type[e.type].append(e.value)
        by_user[e.user_id].append(e)
    hours = collections.Counter(e.time.hour for e in today)
    return {
        "date": date.isoformat(),
        "total_events": now["total_metrics"],
        "active_users": now["active_users"],
        "total_cost": now["total_cost"],
        "change": {
            "total_events": _change(now["total_metrics"], then["total_metrics"]),
            "active_users": _change(now["active_users"], then["active_users"]),
            "total_cost": _change(now["total_cost"], then["total_cost"]),
        },
        "by_type": [{"type": t, "events": len(by_type[t]), "total": sum(by_type[t])}
                    for t in sorted(by_type, key=lambda t: (-len(by_type[t]), t))],
        "by_hour": [{"hour": hour, "events": hours[hour]} for hour in range(24)],
        "top_users": [{"user_id": u, "events": len(by_user[u]), "cost": overview(by_user[u])["total_cost"]}
                      for u in sorted(by_user, key=lambda u: (-len(by_user[u]), u))][:10],
    }


# ---- the aggregate query ----

def metadata_text(value):
    """What PostgreSQL's ->> makes of a member."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def group_of(event, group_by):
    if group_by.startswith("metadata."):
        return metadata_text((event.metadata or {}).get(group_by[len("metadata."):]))
    return {
        "none": lambda: None,
        "type": lambda: event.type,
        "user": lambda: event.user_id,
        "hour": lambda: time_text(event.time.replace(minute=0, second=0, microsecond=0)),
        "day": lambda: event.time.date().isoformat(),
    }[group_by]()


def measured(events, measure):
    values = [e.value for e in events]
    return {
        "count": lambda: len(values),
        "sum": lambda: sum(values, Decimal(0)),
        "avg": lambda: rounded(sum(values) / len(values)) if values else None,
        "min": lambda: min(values, default=None),
        "max": lambda: max(values, default=None),
        "unique_users": lambda: len({e.user_id for e in events}),
    }[measure]()


def query(events, measure="count", group_by="none", type=None, order=None, limit=100):
    """The items of /analytics/query and whether some are left out."""
    groups = collections.defaultdict(list)
    for e in events:
        if type in (None, e.type):
            groups[group_of(e, group_by)].append(e)
    if group_by == "none" and not groups:
        groups[None] = []
    items = [{"group": group, "value": measured(members, measure), "events": len(members)}
             for group, members in groups.items()]
    by_group = [item for item in items if item["group"] is not None]
    by_group.sort(key=lambda item: item["group"].encode())
    without = [item for item in items if item["group"] is None]  # always the last of equals
    order = order or ("group" if group_by in ("hour", "day") else "-value")
    if order == "-group":
        by_group.reverse()
    items = by_group + without
    if order in ("value", "-value"):
        items.sort(key=lambda item: (item["value"] or 0) * (-1 if order == "-value" else 1))  # keeps the order of equals
    return items[:limit], len(items) > limit


# ---- the summary ----

def summary(model, start, days):
    now, then = model.in_days(start, days), model.in_days(start - days * DAY, days)
    by_type = []
    for type in {e.type for e in now + then}:
        values = [e.value for e in now if e.type == type]
        before = [e.value for e in then if e.type == type]
        by_type.append({"type": type, "events": len(values), "value": sum(values),
                        "minimum": min(values, default=None), "maximum": max(values, default=None),
                        "previous_events": len(before), "previous_value": sum(before)})
    times = [e.time for e in now]
    totals = [{"total_events": len(events), "total_value": sum((e.value for e in events), Decimal(0)),
               "active_users": len({e.user_id for e in events})} for events in (now, then)]
    return {
        "days": days,
        "period_start": time_text(day_start(start)),
        "period_end": time_text(day_start(start) + days * DAY),
        **totals[0],
        "first_event_at": time_text(min(times)) if times else None,
        "last_event_at": time_text(max(times)) if times else None,
        "change": {name: _change(totals[0][name], totals[1][name]) for name in totals[0]},
        "by_type": sorted(by_type, key=lambda item: (-item["events"], item["type"])),
    }


# ---- series ----

def _interval_start(date, interval):
    """The first day of the week or month that a day lies in."""
    return {"day": date, "week": date - date.weekday() * DAY, "month": date.replace(day=1)}[interval]


def _day_starts(first, last, zone):
    """The first moment of each local day, found by asking each hour for its date."""
    starts = {}
    hour = day_start(first) - 2 * DAY
    while hour < day_start(last) + 2 * DAY:
        starts.setdefault(hour.astimezone(zone).date(), hour)
        hour += HOUR
    return starts


def by_type(events, start, days, interval="day", timezone="UTC", type=None, limit=50):
    zone = zoneinfo.ZoneInfo(timezone)
    last = start + (days - 1) * DAY
    dates = [start + n * DAY for n in range(days)]
    if interval == "hour":
        starts = _day_starts(start, last + DAY, zone)
        hours = int((starts[last + DAY] - starts[start]) / HOUR)
        times = [starts[start] + n * HOUR for n in range(hours)]
        place = {time: n for n, time in enumerate(times)}
    else:
        firsts = sorted({_interval_start(date, interval) for date in dates})
        starts = _day_starts(firsts[0], last, zone)
        times = [starts[date] for date in firsts]
        place = {date: n for n, date in enumerate(firsts)}

    points = collections.defaultdict(lambda: ([0] * len(times), [Decimal(0)] * len(times)))
    for e in events:
        date = e.time.astimezone(zone).date()
        if start <= date <= last and type in (None, e.type):
            key = e.time.replace(minute=0, second=0, microsecond=0) if interval == "hour" else _interval_start(date, interval)
            points[e.type][0][place[key]] += 1
            points[e.type][1][place[key]] += e.value
    ranked = sorted(points, key=lambda t: (-sum(points[t][0]), t))
    series = [_series(t, [points[t]]) for t in ranked[:limit]]
    if ranked[limit:]:
        series.append(_series(None, [points[t] for t in ranked[limit:]]))
    return {"interval": interval, "timezone": timezone, "start": start.isoformat(), "days": days,
            "times": [time_text(time) for time in times], "series": series}


def _series(type, parts):
    events, values = ([sum(column) for column in zip(*lists)] for lists in zip(*parts))
    return {"type": type, "total_events": sum(events), "total_value": sum(values), "events": events, "values": values}
