# SPDX-License-Identifier: Apache-2.0
"""The rules and the dashboard, tried by promtool and by a Prometheus that scraped a real service."""
import contextlib
import json
import re
import socket
import subprocess
import urllib.parse
import urllib.request

import pytest
import yaml

from env.wait import BUILD, TOP, wait_for

RULES = TOP / "etc" / "prometheus" / "tallygate.rules.yml"
DASHBOARD = TOP / "etc" / "grafana" / "tallygate.json"


def promtool(*arguments):
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


def test_promtool_takes_the_rules():
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stderr


def test_each_alert_comes_when_it_should():
    done = promtool("test", "rules", str(RULES.with_name("tallygate.rules.test.yml")))
    assert done.returncode == 0, done.stdout + done.stderr
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "alert" in rule}
    tried = {test["alertname"] for case in yaml.safe_load(RULES.with_name("tallygate.rules.test.yml").read_text())["tests"]
             for test in case["alert_rule_test"] if test.get("exp_alerts")}
    assert tried == alerts


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(*command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def ask(make_stack, tmp_path_factory):
    """A question to a Prometheus that has seen some of everything."""
    directory = tmp_path_factory.mktemp("prometheus")
    stack = make_stack(rate_user_per_hour=20)
    port, own = free_port(), free_port()
    (directory / "prometheus.yml").write_text(yaml.safe_dump({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "tallygate", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]}))

    def call(path, **parameters):
        url = f"http://127.0.0.1:{own}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def use():
        user = stack.new_user()
        user.record(id="a")
        user.post("/analytics/events", {"type": "x", "value": 1, "user_id": "u", "id": "a"})
        for _ in range(25):
            user.get("/analytics/metrics")
        stack.client.post("/auth/login", {"email": user.email, "password": "wrong"})

    stack.postgres.query("INSERT INTO jobs (type) VALUES ('nothing')")
    use()
    with running(str(BUILD / "tallygate-jobd"), "--config", str(stack.config), "--metrics", f"{stack.dir}/run/jobd.metrics"), \
            running(str(BUILD / "tallygatectl"), "--config", str(stack.config), "metrics", "serve", "--sockets", f"{stack.dir}/run", "--listen",
                 f"127.0.0.1:{port}"), \
            running("prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
                    f"--web.listen-address=127.0.0.1:{own}"):
        def scraped():
            with contextlib.suppress(OSError):
                return call("query", query='count_over_time(up{job="tallygate"}[1m])')["result"]
            return None

        wait_for(scraped, 60, "a scrape")
        use()
        wait_for(lambda: int(scraped()[0]["value"][1]) >= 4, 60, "some scrapes")
        yield call


def known(ask):
    return {name for name in ask("label/__name__/values") if not name.startswith(("scrape_", "ALERTS", "up"))}


def check(ask, expression):
    """It can be asked, and every metric in it is one that there is."""
    expression = expression.replace("$__rate_interval", "5m").replace("$__range", "5m")
    ask("query", query=expression)
    asked = set(re.findall(r"\b([a-z_:0-9]+)(?=[{\[])|\((?:[a-z_]+ )?([a-z_]+)\)", expression))
    names = {first or second for first, second in asked} - {"", "le"}
    unknown = {name for name in names if re.search(r"_(total|bucket|sum|count|bytes|events|ready|connections)$", name)} - known(ask)
    assert not unknown, (expression, unknown)


def test_a_real_prometheus_reads_all_of_it(ask):
    [target] = ask("targets")["activeTargets"]
    assert target["health"] == "up" and target["lastError"] == ""
    kinds = {name: entries[0]["type"] for name, entries in ask("metadata").items()}
    assert kinds["http_requests_total" if "http_requests_total" in kinds else "http_requests"] == "counter"
    assert kinds["http_request_duration_seconds"] == "histogram" and kinds["workers_ready"] == "gauge"
    [recorded] = ask("query", query='events_recorded_total{service="ingest"}')["result"]
    assert recorded["value"][1] == "2"


def test_each_rule_can_be_asked(ask):
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            check(ask, rule["expr"])
    wait_for(lambda: ask("query", query="service:http_requests:rate5m")["result"], 30, "a recording rule")
    assert not [rule for group in ask("rules")["groups"] for rule in group["rules"] if rule["health"] == "err"]


def test_each_panel_can_be_asked(ask):
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        for target in panel["targets"]:
            check(ask, target["expr"])
