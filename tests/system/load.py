# SPDX-License-Identifier: Apache-2.0
"""Record events until standard input ends; then print {"recorded": [ids], "failed": [[status or error, when]]}.

Each is sent once, over a connection that stays open; a reset of an idle connection is not a failure of the
service, so a client opens a new one every hundred requests.
"""
import http.client
import json
import ssl
import sys
import threading
import time


class Load:
    def __init__(self, certificate, token, threads, rate):
        self.context = ssl.create_default_context(cafile=certificate)
        self.token = token
        self.pause_s = threads / rate
        self.stop = threading.Event()
        self.recorded, self.failed = [], []
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(threads)]

    def run(self, number):
        connection = None
        for n in range(10 ** 9):
            if self.stop.is_set():
                return
            began = time.monotonic()
            name = f"load-{number}-{n}-{time.time_ns()}"
            try:
                if connection is None or n % 100 == 0:
                    connection = http.client.HTTPSConnection("localhost", timeout=60, context=self.context)
                connection.request("POST", "/analytics/events", json.dumps({"id": name, "type": "x", "value": 1, "user_id": "u"}),
                                   {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status == 201 and json.loads(body)["status"] == "recorded":
                    self.recorded.append(name)
                else:
                    self.failed.append([answer.status, time.time()])
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failed.append([repr(error), time.time()])
                connection = None
            self.stop.wait(max(0, self.pause_s - (time.monotonic() - began)))


if __name__ == "__main__":
    load = Load(sys.argv[1], sys.argv[2], threads=6, rate=60)
    for thread in load.threads:
        thread.start()
    print("started", flush=True)
    sys.stdin.read()
    load.stop.set()
    for thread in load.threads:
        thread.join()
    json.dump({"recorded": load.recorded, "failed": load.failed}, sys.stdout)
