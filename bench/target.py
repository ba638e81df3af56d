# SPDX-License-Identifier: Apache-2.0
"""What is to be reached: each target is one figure and its limit, as data."""
from dataclasses import dataclass
from typing import Callable


@dataclass
class Target:
    work: str
    limit: float
    unit: str
    at_least: bool
    figure: Callable  # of the results

    def wanted(self):
        return f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.unit}"

    def judge(self, results):
        """A row of the table. `reached` is yes, no, or why there is no figure."""
        value, reached = None, "not measured"
        try:
            value = self.figure(results)
            reached = "yes" if (value >= self.limit if self.at_least else value <= self.limit) else "no"
        except LookupError:
            pass
        except TypeError:  # figures of a question that is None
            reached = "not there"
        return {"work": self.work, "wanted": self.wanted(), "value": value, "unit": self.unit,
                "reached": reached}


def ratio(name, other):
    return lambda results: results["medians"][name]["rate"] / results["medians"][other]["rate"]


def median(name, key):
    return lambda results: results["medians"][name][key]


def memory(key):
    return lambda results: results["memory_mib"][key]


def question(name, size=-1):
    """p95 in ms at the largest size."""
    return lambda results: list(results["reading"].values())[size]["questions"][name]["p95_ms"]


def growth(name):
    return lambda results: question(name, -1)(results) / question(name, 0)(results)


def targets():
    rows = [
        Target("one event, of the constant answer", 0.50, "×", True, ratio("event", "event-ceiling")),
        Target("one event, of FastAPI's bare INSERT", 4, "×", True, ratio("event", "fastapi")),
        Target("one event, of Fastify's bare INSERT", 3, "×", True, ratio("event", "fastify")),
        Target("one event, p99 with 128 clients", 50, "ms", False, median("event-128", "p99_ms")),
        Target("one event by API key, of the constant answer", 0.50, "×", True, ratio("event-key", "event-ceiling")),
        Target("one event beside 20 logins a second, p99 of that without", 1.5, "×", False,
               lambda results: median("event-logins", "p99_ms")(results) / median("event-16", "p99_ms")(results)),
        Target("one event beside 20 logins a second, p99 of that beside an idle loop", 1.1, "×", False,
               lambda results: median("event-logins", "p99_ms")(results) / median("event-spin", "p99_ms")(results)),
        Target("batches of 1,000, of `\\copy` in events/s", 0.40, "×", True, ratio("batch", "copy")),
        Target("GET /auth/verify, of the constant answer", 0.80, "×", True,
               ratio("verify", "verify-ceiling")),
    ]
    for name, path in (("metrics", "/analytics/metrics"), ("summary", "/analytics/summary"),
                       ("usage", "/analytics/usage/{user_id}")):
        rows.append(Target(f"GET {path}, p95 on the large table", 10, "ms", False, question(name)))
        rows.append(Target(f"GET {path}, p95 on the large table, of that on the small one", 1.3, "×", False,
                           growth(name)))
    return rows + [
        Target("memory of all processes, idle", 40, "MiB", False, memory("idle")),
        Target("memory of all processes, under the load of single events", 120, "MiB", False, memory("load")),
    ]
