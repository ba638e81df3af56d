# SPDX-License-Identifier: Apache-2.0
"""The stack of the tests with the benchmark's own locations in its nginx.

It is what dev/up makes, with the defaults of an installation: only the limits per address are out of the
way, and tokens last for the whole run. It lies on a disk, for a commit in /tmp may be one to memory.
"""
import signal
import subprocess
import tempfile
from pathlib import Path

import machine
from env.servers import Pool, process_alive
from env.stack import Stack, command_environment
from env.wait import TOP, wait_for

HERE = Path(__file__).parent
IN_MEMORY = ("tmpfs", "ramfs")


class BenchStack(Stack):
    def __init__(self):
        super().__init__()
        # Requests are counted as for everybody, by limits that no load reaches. None of the settings that suit tests.
        self.settings = {"access_token_ttl_s": 86400, "rate_user_per_hour": 10**9, "rate_events_per_second": 10**6,
                         "rate_events_burst": 10**9, "rate_login_per_minute": 0, "login_delays": "no"}
        self.dir.rmdir()
        self.dir = Path(tempfile.mkdtemp(prefix="tg-", dir="/var/tmp"))
        self.dir.chmod(0o755)
        self.work = self.dir / "bench"
        self.work.mkdir(mode=0o700)

    def __enter__(self):
        try:
            self.up()
            self._check_durable()
            self._add_locations()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    # ---- PostgreSQL ----

    def _check_durable(self):
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            if self.setting(name) != "on":
                raise RuntimeError(f"PostgreSQL runs with {name} off: its commits are worth nothing")
        kind = subprocess.run(["stat", "-f", "-c", "%T", str(self.dir)], capture_output=True, text=True,
                              check=True).stdout.strip()
        if kind in IN_MEMORY:
            raise RuntimeError(f"{self.dir} is on {kind}: commits would go to memory")

    def setting(self, name):
        return self.postgres.value("SELECT current_setting(%s)", name)

    def settle(self):
        """Each run begins after a checkpoint, so that none pays for what the one before left."""
        self.postgres.query("CHECKPOINT", database="postgres", user="postgres")

    def psql(self, sql, database="tallygate", variables=None, timeout_s=1800):
        """Feed psql with SQL; returns what it prints. Fails with its words."""
        command = ["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", str(self.dir / "run" / "pg"),
                   "-U", "tallygate", "-d", database]
        for name, value in (variables or {}).items():
            command += ["-v", f"{name}={value}"]
        done = subprocess.run(command, input=sql, capture_output=True, text=True, check=False,
                              env=command_environment(), timeout=timeout_s)
        if done.returncode:
            raise RuntimeError(f"psql failed: {done.stderr.strip()}")
        return done.stdout

    # ---- nginx ----

    def _add_locations(self):
        for part, into in (("http", "nginx.conf"), ("site", "tallygate-site.conf")):
            values = [f"rundir={self.dir}/run", f"nginxdir={self.dir}/etc/nginx"]
            text = subprocess.run([str(TOP / "dev" / "render"), str(HERE / f"nginx-{part}.conf.in"), *values],
                                  capture_output=True, text=True, check=True).stdout
            target = self.dir / "etc" / "nginx" / f"bench-{part}.conf"
            target.write_text(text)
            outer = self.dir / "etc" / "nginx" / into
            before, brace, after = outer.read_text().rpartition("}")
            outer.write_text(f'{before}include "{target}";\n{brace}{after}')
        old = self.nginx.workers
        self.nginx.signal(signal.SIGHUP)
        wait_for(lambda: not any(map(process_alive, old)), 30, "nginx with the benchmark's locations")
        if self.client.get("/bench/ceiling/api").status != 200:
            raise RuntimeError(f"nginx did not take the benchmark's locations: {self.nginx.log_path.parent}")

    # ---- Processes ----

    def tallygate(self):
        """All of Tallygate: what dev/up started and is none of the servers of others."""
        others = ("postgres", "redis", "nginx")
        names = [path.stem for path in (self.dir / "run").glob("*.pid") if path.stem not in others]
        return machine.family(*(Pool(self, name).pid for name in names))

    def processes(self):
        """By part, to tell which of them a request costs what."""
        return {
            "tallygate": self.tallygate(),
            "nginx": machine.family(self.nginx.pid),
            "postgres": machine.family(self.postgres.pid),
        }
