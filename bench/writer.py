# SPDX-License-Identifier: Apache-2.0
"""A steady stream of batches: a program of its own, so that it does not disturb the clock of the reader.

The first line on its standard input is JSON: port, cert, token, batches (bodies), word, per_second, size,
limit_s. It ends with its standard input, and then says what it did: batches, faults, late_ms.
"""
import http.client
import json
import ssl
import sys
import threading
import time

import request

THREADS = 4


class Writer:
    def __init__(self, port, cert, token, batches, word, per_second, limit_s):
        self.port, self.batches, self.word = port, batches, word
        self.tls = ssl.create_default_context(cafile=cert)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.interval = 1 / per_second
        self.begin = time.monotonic()
        self.end = self.begin + limit_s
        self.stop = threading.Event()
        self.took_ms, self.faults = [], []

    def stream(self, thread):
        """Batch n is due at a fixed time; one that comes late does not delay those after it."""
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=30)
        serial = thread
        while True:
            due = self.begin + serial * self.interval
            if due > self.end or self.stop.wait(max(due - time.monotonic(), 0)):
                return
            body = request.with_id(self.batches[serial % len(self.batches)], self.word, serial)
            try:
                connection.request("POST", "/analytics/metrics/batch", body, self.headers)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200 or json.loads(text)["rejected"]:
                    self.faults.append(f"{answer.status} {text[:200]!r}")
            except (OSError, http.client.HTTPException) as fault:
                self.faults.append(repr(fault))
                connection.close()
            self.took_ms.append((time.monotonic() - due) * 1000)
            serial += THREADS


def main():
    writer = Writer(**json.loads(sys.stdin.readline()))
    threads = [threading.Thread(target=writer.stream, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    writer.stop.set()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - writer.begin
    json.dump({"batches": len(writer.took_ms), "seconds": seconds, "faults": len(writer.faults),
               "first_faults": writer.faults[:3], "p50_ms": middle(writer.took_ms),
               "max_ms": max(writer.took_ms, default=None)}, sys.stdout)


def middle(values):
    return sorted(values)[len(values) // 2] if values else None


if __name__ == "__main__":
    main()
