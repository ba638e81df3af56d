# SPDX-License-Identifier: Apache-2.0
"""A whole Tallygate of its own: PostgreSQL, Redis, the three pools and nginx, as dev/up starts them.

Every stack lies in a short directory below /tmp (paths of sockets have at most 107 bytes) and has a
port of its own, so any number of them may run beside one another.
"""
import email
import email.policy
import itertools
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from env import http
from env.accounts import User
from env.servers import Nginx, Pool, Postgres, Redis, Server
from env.wait import BUILD, TOP

POOLS = ("auth", "ingest", "api")
# Below the range from which the kernel takes the ports of clients (ip_local_port_range).
PORTS = range(20000, 32000)
# Figures are computed each time, so that a test may read what it has just written. All tests come from one address,
# so failed logins would slow one another down. Passwords and addresses are a matter of test_strength.py and
# test_address.py, which set what an installation has.
SETTINGS = {"bcrypt_cost": 4, "cache_unfinished_ms": 0, "login_delays": "no", "password_min_score": 0,
            "address_change_confirmed": "no", "rate_login_per_minute": 0, "rate_user_per_hour": 0, "rate_service_per_hour": 0,
            "rate_events_per_second": 0}
# Limits of an address that no test reaches by itself.
WIDE_LIMITS = {"login_rate": "60000r/m", "login_burst": "10000", "wide_rate": "50000r/s", "wide_burst": "10000"}
SANITIZER_REPORT = re.compile(r"(ERROR|WARNING): (Address|Thread|Leak|Memory)Sanitizer|runtime error: ")


def free_port():
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def command_environment():
    """Without what would change what the programs and dev/up do."""
    unwanted = ("DATABASE_URL", "MIGRATION_URL", "REDIS_URL", "SECRET_KEY_FILE", "NOTIFY_SOCKET")
    return {k: v for k, v in os.environ.items() if k not in unwanted and not k.startswith("PG")}


class Stack:
    """Start with up(), end with remove(). `settings` go to tallygate.conf, `limits` to nginx."""

    _serial = itertools.count(1)

    def __init__(self, settings=None, limits=None, jobs=False):
        self.dir = Path(tempfile.mkdtemp(prefix="tg-", dir="/tmp"))
        self.dir.chmod(0o755)  # PostgreSQL runs as another user when the tests run as root
        self.settings = {**SETTINGS, **(settings or {})}
        self.limits = WIDE_LIMITS if limits is None else limits
        self.port = None
        self.postgres = Postgres(self, "postgres")
        self.redis = Redis(self, "redis")
        self.auth, self.ingest, self.api = (Pool(self, name) for name in POOLS)
        self.nginx = Nginx(self, "nginx")
        self.mail = Server(self, "mail")  # puts mails into files
        self.jobs = Server(self, "jobs") if jobs else None
        self._client = None

    # ---- life ----

    def up(self, **settings):
        """Start it, or what is missing of it. New settings need down() before."""
        self.settings.update(settings)
        asked = [f"--set={key}={value}" for key, value in self.settings.items()]
        asked += [f"--nginx={key}={value}" for key, value in self.limits.items()]
        asked += [] if self.jobs else ["--no-jobs"]
        for attempt in range(5):
            port = self.port or free_port()
            done = self._dev("up", "--port", str(port), "--no-build", "--build-dir", str(BUILD), *asked)
            if done.returncode == 0:
                self.port = port
                return self
            if self.port or "in use" not in done.stderr or attempt == 4:
                break
        raise RuntimeError(f"dev/up failed in {self.dir}:\n{done.stdout}{done.stderr}")

    def down(self):
        done = self._dev("down")
        if done.returncode:
            raise RuntimeError(f"dev/down failed in {self.dir}:\n{done.stdout}{done.stderr}")

    def remove(self, keep_logs=False):
        """Stop everything. Fails when a program was found faulty on the way."""
        if self._client:
            self._client.close()
        self.down()
        reports = self.sanitizer_reports()
        if keep_logs or reports:
            for part in ("pgdata", "redis", "nginx", "run"):
                shutil.rmtree(self.dir / part, ignore_errors=True)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        assert not reports, f"reports of a sanitizer, logs are in {self.dir}/log:\n" + "\n".join(reports)

    def _dev(self, tool, *arguments):
        return subprocess.run(
            [str(TOP / "dev" / tool), "--dir", str(self.dir), *arguments],
            capture_output=True, text=True, env=command_environment(), stdin=subprocess.DEVNULL, check=False,
        )

    # ---- doors ----

    @property
    def url(self):
        return f"https://localhost:{self.port}"

    @property
    def cert(self):
        return self.dir / "tls" / "cert.pem"

    @property
    def config(self):
        return self.dir / "etc" / "tallygate.conf"

    @property
    def shared(self):
        """The settings by which another stack becomes a second host of this service: what hosts have in common."""
        return {"database_url": f"host={self.dir}/run/pg dbname=tallygate user=tallygate",
                "secret_key_file": f"{self.dir}/etc/secret.key", "issuer": self.url}

    @property
    def client(self):
        """Without a token."""
        if not self._client:
            self._client = self.new_client()
        return self._client

    def new_client(self, token=None):
        return http.Client(self.url, self.cert, token)

    def raw(self, method, target, headers=None, body=b""):
        return http.raw_request(self.port, self.cert, method, target, headers, body)

    def send_bytes(self, data, plain=False):
        return http.send_bytes(self.port, self.cert, data, plain)

    def curl(self, path, *options):
        return http.curl(self.url + path, self.cert, *options)

    def ctl(self, *arguments, config=None, given=None):
        """Run tallygatectl, with this text on standard input."""
        return self.program("tallygatectl", "--config", str(config or self.config), *arguments, given=given)

    def ctl_command(self, *arguments):
        """The same as a command, to be run beside others."""
        return [str(BUILD / "tallygatectl"), "--config", str(self.config), *arguments]

    def program(self, name, *arguments, env=None, given=None):
        return subprocess.run(
            [str(BUILD / name), *arguments], capture_output=True, text=True, input=given or "",
            env={**command_environment(), **(env or {})}, timeout=120, check=False,
        )

    # ---- accounts ----

    def unique(self, word="x"):
        """A word that no other test has."""
        return f"{word}-{os.getpid()}-{next(self._serial)}-{random.getrandbits(32):08x}"

    def new_user(self, **fields):
        """Register somebody new."""
        return User.register(self, **fields)

    def mails(self, address):
        """Those that were sent there so far, the first one first, as email.message."""
        found = []
        for path in sorted((self.dir / "mail").glob("*.eml")):
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            if message["To"].addresses[0].addr_spec == address:
                found.append(message)
        return found

    # ---- logs ----

    def log_files(self):
        return sorted((self.dir / "log").glob("*.log"))

    def sanitizer_reports(self):
        return [
            f"{path.name}: {line}"
            for path in self.log_files()
            for line in path.read_text(errors="replace").splitlines()
            if SANITIZER_REPORT.search(line)
        ]
