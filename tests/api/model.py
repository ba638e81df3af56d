# SPDX-License-Identifier: Apache-2.0
"""What the analytics must answer, computed from the list of events in the plainest way."""
import collections
import datetime
import random
from decimal import ROUND_HALF_UP, Decimal

UTC = datetime.timezone.utc
DAY = datetime.timedelta(days=1)
CALLS = ("api_call", "tool_execution")

Event = collections.namedtuple("Event", "type value user_id time")


def parse_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def rounded(number, digits=6):
    return Decimal(number).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def ratio(total, count):
    return rounded(Decimal(total) / count) if count else Decimal(0)


class Model:
    """The events of one workspace, as far as a test sent them."""

    def __init__(self, user):
        self.user = user
        self.events = []

    def send(self, events):
        """Record them by batches; the answer to each must be plain."""
        events = [Event(e.type, Decimal(str(e.value)), e.user_id, e.time) for e in events]
        for start in range(0, len(events), 1000):
            part = events[start:start + 1000]
            texts = ['{"type": "%s", "value": %s, "user_id": "%s", "timestamp": "%s"}' % (
                e.type, e.value, e.user_id, e.time.isoformat()) for e in part]
            answer = self.user.post("/analytics/metrics/batch", data='{"events": [%s]}' % ",".join(texts))
            assert answer.json() == {"accepted": len(part), "duplicates": 0, "rejected": []}, answer
        self.events += events
        return self

    def add(self, type="api_call", value=1, user_id="u", time=None, days_ago=0):
        time = time or datetime.datetime.now(UTC) - days_ago * DAY
        return self.send([Event(type, value, user_id, time)])

    def add_random(self, count, days=20, seed=1):
        """Events spread over the last days, never in the future."""
        source = random.Random(seed)
        now = datetime.datetime.now(UTC)
        events = []
        for _ in range(count):
            type = source.choice(["api_call", "tool_execution", "cost", "session", "page.view"])
            value = Decimal(source.randint(-5, 500)) / source.choice([1, 2, 10, 100])
            time = now - datetime.timedelta(seconds=source.randint(1, days * 86400))
            events.append(Event(type, value, f"user-{source.randint(1, 9)}", time))
        return self.send(events)

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
