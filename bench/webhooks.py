# SPDX-License-Identifier: Apache-2.0
"""python3 bench/webhooks.py DIR: how many events a second reach webhooks, on the stack that `dev/up --no-jobs --dir DIR` started there.

The receiver is an nginx of its own that says 200 at once. Events are written as handlers write them; the clock runs from the start of a
tallygate-jobd until the last one is told as delivered: relay, figures of the platform, signature, request and all. Alternates between one
webhook, ten, and one beside another that never answers.
"""
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg2

BUILD = Path(__file__).resolve().parents[1] / "build"
EVENTS, ROUNDS, PORT = 5000, 3, 18999
NGINX = """daemon off; pid %(dir)s/pid; error_log stderr crit; worker_processes 1;
events {}
http { access_log off; client_body_temp_path %(dir)s/b; proxy_temp_path %(dir)s/p; fastcgi_temp_path %(dir)s/f; uwsgi_temp_path %(dir)s/u; scgi_temp_path %(dir)s/s;
keepalive_requests 1000000;
server { listen 127.0.0.1:%(port)d; location /quick { return 200 "taken"; } } }
"""


def connect(folder):
    connection = psycopg2.connect(host=f"{folder}/run/pg", dbname="tallygate", user="tallygate")
    connection.autocommit = True
    return connection


def value(connection, sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()[0]


def make(folder, config, urls):
    for url in urls:
        subprocess.run([BUILD / "tallygatectl", "--config", config, "webhook", "add", "tallygate", url], check=True, stdout=subprocess.DEVNULL)


def measure(folder, connection, urls):
    config = f"{folder}/etc/webhooks.conf"
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM webhooks")
        cursor.execute("TRUNCATE deliveries_done, domain_events, event_outbox")
        make(folder, config, urls)
        cursor.execute("INSERT INTO event_outbox (id, type, subject, workspace_id, platform, user_id, data) SELECT gen_random_uuid(), 'user.login', "
                       "'user:' || n, (SELECT id FROM workspaces WHERE platform), true, n::text, jsonb_build_object('user_id', n) FROM generate_series(1, %s) n",
                       (EVENTS,))
    quick = sum("/quick" in url for url in urls) * EVENTS
    began = time.monotonic()
    process = subprocess.Popen([BUILD / "tallygate-jobd", "--config", config, "--metrics", f"{folder}/run/bench.metrics"], stderr=subprocess.DEVNULL)
    try:
        while value(connection, "SELECT count(*) FROM deliveries_done WHERE state = 'delivered'") < quick:
            time.sleep(0.05)
        return quick / (time.monotonic() - began)
    finally:
        process.terminate()
        process.wait()


def main():
    folder = sys.argv[1]
    config = Path(folder, "etc/tallygate.conf").read_text()
    Path(folder, "etc/webhooks.conf").write_text(f"{config}\nwebhook_allow = 127.0.0.0/8\n")
    quick = f"http://127.0.0.1:{PORT}/quick"
    cases = {"one webhook": [quick], "ten webhooks": [f"{quick}/{n}" for n in range(10)], "one, beside one that hangs": [quick, f"http://127.0.0.1:{PORT + 1}/"]}
    found = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as place, contextlib.closing(connect(folder)) as connection:
        Path(place, "nginx.conf").write_text(NGINX % {"dir": place, "port": PORT})
        hanging = subprocess.Popen([sys.executable, "-c", f"import socket, time; s = socket.create_server(('127.0.0.1', {PORT + 1}), backlog=500); time.sleep(3600)"])
        nginx = subprocess.Popen(["nginx", "-p", place, "-c", f"{place}/nginx.conf"])
        try:
            for _ in range(ROUNDS):
                for name, urls in cases.items():
                    found[name].append(measure(folder, connection, urls))
        finally:
            for process in (nginx, hanging):
                process.terminate()
                process.wait()
    for name, rates in found.items():
        print(f"{name}: {statistics.median(rates):.0f} deliveries/s, median of {', '.join(f'{rate:.0f}' for rate in rates)}")


main()
