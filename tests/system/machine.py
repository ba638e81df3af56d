# SPDX-License-Identifier: Apache-2.0
"""A Debian of its own, booted by systemd-nspawn: its own systemd, users, files and network."""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}
SERVERS = ["nginx", "postgresql-15", "redis-server", "spawn-fcgi", "openssl", "curl", "ca-certificates", "debconf-utils", "procps", "jq",
           "logrotate", "pgbackrest"]


def wait_for(condition, deadline_s=60, what=None):
    until = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {deadline_s} s: {what or condition} (last: {value!r})")
        time.sleep(0.1)


def mirror():
    """Where this machine gets its packages from."""
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        if path.suffix in (".list", ".sources") and path.is_file():
            found = re.search(r"(?m)^(?:deb |URIs: ).*?(https?://\S*debian/?)(?=\s|$)", path.read_text())
            if found:
                return found[1]
    return "http://deb.debian.org/debian"


def needed_by(package):
    """The names of what a package depends on."""
    depends = subprocess.run(["dpkg-deb", "-f", str(package), "Depends"], capture_output=True, text=True, check=True).stdout
    return [re.match(r"[a-z0-9+.-]+", one.strip())[0] for one in depends.split(",")]


def make_base(root, package):
    """A minimal Debian 12 with the servers that Tallygate stands on, none of them started yet, and what `package` depends on."""
    subprocess.run(["debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,ca-certificates", "bookworm", str(root), mirror()],
                   check=True, stdout=subprocess.DEVNULL)
    apt = Path(root) / "etc" / "apt"
    for name in ("sources.list", "sources.list.d", "apt.conf.d"):
        source = Path("/etc/apt") / name
        target = apt / name
        if source.is_dir():
            for path in source.iterdir():
                if path.is_file() and (path.suffix == ".sources" or "proxy" in path.read_text(errors="replace").lower()):
                    shutil.copy(path, target / path.name)
    if any((apt / "sources.list.d").glob("*.sources")):
        (apt / "sources.list").unlink(missing_ok=True)
    shutil.copy("/etc/resolv.conf", Path(root) / "etc" / "resolv.conf")
    policy = Path(root) / "usr" / "sbin" / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    for command in (["apt-get", "-q", "update"], ["apt-get", "-q", "-y", "--no-install-recommends", "install", *SERVERS, *needed_by(package)]):
        subprocess.run(["chroot", str(root), *command], check=True, env={**ENVIRONMENT, **proxies()}, stdout=subprocess.DEVNULL)
    policy.unlink()


def proxies():
    return {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}


class Machine:
    def __init__(self, root, log):
        self.root = Path(root)
        self.log = Path(log)
        self.process = None

    def boot(self):
        output = self.log.open("ab")
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--boot", "--directory", str(self.root), "--register=no", "--keep-unit", "--private-network",
             f"--machine=tallygate-{os.getpid()}", "--console=pipe"], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        output.close()
        self.leader = wait_for(self._leader, what="the machine's first process")
        wait_for(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"),
                 180, "the machine to come up")
        self.run("ip", "link", "set", "lo", "up", check=False)
        return self

    def _leader(self):
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def _ended(self):
        return self.process.poll() is not None

    def shut_down(self):
        if self.process and not self._ended():
            self.run("systemctl", "poweroff", check=False)
            with contextlib.suppress(AssertionError):
                wait_for(self._ended, 60)
            if not self._ended():
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()

    def reboot(self):
        self.shut_down()
        self.boot()

    def command(self, *arguments):
        return ["nsenter", "-t", str(self.leader), "-a", "--", "env", "-i", *[f"{name}={value}" for name, value in ENVIRONMENT.items()],
                *arguments]

    def run(self, *arguments, check=True, timeout=120, **more):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, timeout=timeout,
                              stdin=None if "input" in more else subprocess.DEVNULL, **more)
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def out(self, *arguments, **more):
        return self.run(*arguments, **more).stdout.strip()

    def sql(self, query, database="tallygate"):
        return self.out("runuser", "-u", "postgres", "--", "psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", query)

    def file(self, path):
        return self.root / str(path).lstrip("/")

    def state(self, unit):
        return self.out("systemctl", "is-active", unit, check=False)

    def pid(self, unit):
        return int(self.out("systemctl", "show", "-P", "MainPID", unit))

    def children(self, pid):
        return [int(word) for word in self.out("pgrep", "-P", str(pid), check=False).split()]

    def curl(self, path, *arguments, **more):
        """The answer's status and body, asked by a client on the machine itself."""
        done = self.run("curl", "-sS", "-m", "20", "--cacert", "/etc/tallygate/tls/cert.pem", "-w", "\n%{http_code}", *arguments,
                        f"https://localhost{path}", check=False, **more)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body, done.stderr
