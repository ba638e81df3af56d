# SPDX-License-Identifier: Apache-2.0
"""A Redis without a stack around it, for tests that stop it, make it hang or change its password."""
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import redis

from env.wait import wait_for


class LoneRedis:
    def __init__(self, *options):
        self.dir = Path(tempfile.mkdtemp(prefix="tg-", dir="/tmp"))
        self.socket = self.dir / "redis.sock"
        self.options = options
        self.process = None
        self.start()

    @property
    def url(self):
        return f"unix:{self.socket}"

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(self.dir),
             *self.options], stdout=subprocess.DEVNULL)
        wait_for(self._answers, what="an answer of Redis")

    def _answers(self):
        try:
            return self.client().ping()
        except redis.exceptions.AuthenticationError:
            return True
        except redis.exceptions.ConnectionError:
            return False

    def client(self):
        return redis.Redis(unix_socket_path=str(self.socket))

    def hang(self):
        """Connections are still taken, by the kernel; nothing is answered."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
