# SPDX-License-Identifier: Apache-2.0
"""What the master tells systemd (sd_notify(3)), read from the socket that systemd would listen on."""
import os
import signal
import socket
import subprocess

import pytest

from env.servers import process_alive
from env.stack import command_environment
from env.wait import BUILD, wait_for


class Notified:
    """A pool of its own, started by spawn-fcgi as a unit would, beside those of the stack."""

    def __init__(self, stack, tmp_path, **environment):
        self.messages = []
        path = f"{stack.dir}/run/notify-{os.getpid()}.sock"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listener.bind(path)
        self.listener.setblocking(False)
        self.path = path
        self.pool_socket = f"{stack.dir}/run/extra-{os.getpid()}.sock"
        self.log = open(tmp_path / "pool.log", "wb")
        self.process = subprocess.Popen(
            ["spawn-fcgi", "-n", "-s", self.pool_socket, "-M", "0660", "--", str(BUILD / "tallygate-fcgi"),
             "--pool", "api", "--config", str(stack.config)],
            env={**command_environment(), "NOTIFY_SOCKET": path, **environment},
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def heard(self, word):
        """Whether `word` was said since the last call that found it; forgets what came up to it."""
        while True:
            try:
                self.messages += self.listener.recv(4096).decode().split("\n")
            except BlockingIOError:
                break
        for index, message in enumerate(self.messages):
            if message.startswith(word):
                del self.messages[: index + 1]
                return message
        return None

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(60)
        self.listener.close()
        self.log.close()
        os.unlink(self.path)
        os.unlink(self.pool_socket)


@pytest.fixture
def notified(stack, tmp_path):
    started = []

    def start(**environment):
        started.append(Notified(stack, tmp_path, **environment))
        return started[-1]

    yield start
    for pool in started:
        pool.end()


def test_ready_reloading_and_stopping_are_told(notified):
    pool = notified()
    wait_for(lambda: pool.heard("READY=1"), what="READY")
    pool.process.send_signal(signal.SIGHUP)
    wait_for(lambda: pool.heard("RELOADING=1"), what="RELOADING")
    # systemd ignores RELOADING without the time.
    assert int(wait_for(lambda: pool.heard("MONOTONIC_USEC="), what="the time").partition("=")[2]) > 0
    wait_for(lambda: pool.heard("READY=1"), what="READY after the reload")
    assert process_alive(pool.process.pid)
    pool.process.terminate()
    wait_for(lambda: pool.heard("STOPPING=1"), what="STOPPING")
    assert pool.process.wait(60) == 0


def test_the_watchdog_is_fed(notified):
    pool = notified(WATCHDOG_USEC="200000")
    wait_for(lambda: pool.heard("READY=1"), what="READY")
    for _ in range(3):
        wait_for(lambda: pool.heard("WATCHDOG=1"), what="WATCHDOG")


def test_without_a_watchdog_nothing_is_fed(notified):
    pool = notified()
    wait_for(lambda: pool.heard("READY=1"), what="READY")
    pool.process.terminate()
    wait_for(lambda: pool.heard("STOPPING=1"), what="STOPPING")
    assert "WATCHDOG=1" not in pool.messages
