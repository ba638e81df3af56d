# SPDX-License-Identifier: Apache-2.0
"""What the tests of an installation do alike: install it, log in, and record events all the while."""
import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from machine import wait_for

HERE = Path(__file__).resolve().parent
POOLS = ("auth", "ingest", "api")
CONFIG = "/etc/tallygate/tallygate.conf"
ADMINISTRATOR, PASSWORD = "ada@example.org", "an engine of brass"


def unit(pool):
    return f"tallygate-fcgi@{pool}.service"


def install(machine, package):
    shutil.copy(package, machine.file("/root") / package.name)
    return machine.run("dpkg", "-i", f"/root/{package.name}")


def make_site(machine):
    """The site in nginx, with a certificate that it signed itself."""
    machine.run("mkdir", "-p", "/etc/tallygate/tls")
    machine.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "/etc/tallygate/tls/key.pem",
                "-out", "/etc/tallygate/tls/cert.pem")
    machine.run("ln", "-s", "../sites-available/tallygate", "/etc/nginx/sites-enabled/tallygate")
    machine.run("nginx", "-t")
    machine.run("systemctl", "reload", "nginx")
    wait_for(lambda: healthy(machine), what="the service behind nginx")


def log_in(machine, email):
    """What a login answers, for an account with PASSWORD. An address has five a minute (nginx): on a quick machine the tests
    come to a sixth within it, and wait for it as any client must."""
    def answered():
        status, body, error = machine.curl("/auth/login", "-H", "Content-Type: application/json", "-d",
                                           json.dumps({"email": email, "password": PASSWORD}))
        assert status in (200, 429), (status, body, error)
        return json.loads(body) if status == 200 else None
    return wait_for(answered, deadline_s=90, what="a login within the limit of its address")


def health(machine):
    status, body, _ = machine.curl("/health")
    return json.loads(body) if status == 200 else None


def healthy(machine):
    answer = health(machine)
    return bool(answer) and answer["status"] == "healthy"


@contextlib.contextmanager
def load(machine, token):
    """Events all the while; gives a dictionary that has what became of them afterwards."""
    told = {}
    process = subprocess.Popen(
        ["nsenter", "-t", str(machine.leader), "-n", "--", sys.executable, str(HERE / "load.py"),
         str(machine.file("/etc/tallygate/tls/cert.pem")), token], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    try:
        yield told
    finally:
        output, _ = process.communicate("", timeout=120)
    told.update(json.loads(output))


def kept(machine, told):
    """Everything that was acknowledged is there."""
    there = set(machine.sql("SELECT id FROM event_ids WHERE id LIKE 'load-%'").split())
    missing = set(told["recorded"]) - there
    assert told["recorded"] and not missing, (len(told["recorded"]), missing)
