# SPDX-License-Identifier: Apache-2.0
"""What goes on beside a load: attempts to log in, or loops that only take what processor time is left."""
import concurrent.futures
import os
import secrets
import subprocess
import threading
import time

from env.http import Client

IN_FLIGHT = 64  # more than the pool can serve: what comes beyond waits at the door, as it would


class Logins:
    """So many attempts a second, each with another address, and none of them right."""

    def __init__(self, stack, rate):
        self.stack, self.rate = stack, rate
        self.sent = self.answered = 0
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.local = threading.local()

    def __enter__(self):
        self.began = time.monotonic()
        if self.rate:
            self.pool = concurrent.futures.ThreadPoolExecutor(IN_FLIGHT)
            self.thread = threading.Thread(target=self._run)
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.began
        if self.rate:
            self.stopped.set()
            self.thread.join()
            self.pool.shutdown(wait=True, cancel_futures=True)

    def told(self):
        """What became of them while the load ran."""
        if not self.rate:
            return {}
        return {"logins_sent_per_s": self.sent / self.seconds, "logins_answered_per_s": self.answered / self.seconds}

    def _run(self):
        while not self.stopped.wait(1 / self.rate):
            self.sent += 1
            self.pool.submit(self._attempt)

    def _attempt(self):
        if not hasattr(self.local, "client"):
            os.setpriority(os.PRIO_PROCESS, 0, 19)  # of this thread: who sends them would be elsewhere
            self.local.client = Client(self.stack.url, self.stack.cert)
        answer = self.local.client.post("/auth/login", {
            "email": f"{secrets.token_hex(8)}@example.org", "password": "none of ours"})
        if not self.stopped.is_set() and answer.status == 401:
            with self.lock:
                self.answered += 1


class Spins:
    """Loops under SCHED_IDLE, which give way to everything else, as far as the kernel lets them."""

    def __init__(self, count):
        self.count = count

    def __enter__(self):
        self.processes = [subprocess.Popen(["chrt", "--idle", "0", "sh", "-c", "while :; do :; done"]) for _ in range(self.count)]
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
