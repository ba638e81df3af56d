# SPDX-License-Identifier: Apache-2.0
"""wrk: the client that makes the load. What it did not get answered well is a fault, not a figure."""
import json
import re
import subprocess
import threading
from pathlib import Path

import request

SCRIPT = Path(__file__).with_name("load.lua")
THREADS = 2


class Fault(Exception):
    """A run that says nothing: there were errors, or what was answered is not there."""


def run(stack, requests_file, connections, seconds, word, at_end=None):
    """Load until `seconds` are over. `at_end` is called shortly before, while the load goes on.

    Returns requests, seconds, p50_ms, p99_ms and max_ms.
    """
    command = ["wrk", "-t", str(min(THREADS, connections)), "-c", str(connections), "-d", f"{seconds}s",
               "--timeout", "10s", "-s", str(SCRIPT), f"https://localhost:{stack.port}", "--",
               str(requests_file), request.SEPARATOR, request.ID, word]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    reader = Output(process)
    try:
        if at_end:
            reader.join(max(seconds - 0.7, 0.3))
            at_end()
        reader.join(seconds + 60)
    finally:
        process.kill()
        process.wait()
    return result(reader.text)


class Output(threading.Thread):
    """Reads a process's output to its end, so that it never waits for us."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.text = process, ""
        self.start()

    def run(self):
        self.text = self.process.stdout.read()


def result(output):
    found = re.search(r"^RESULT (\{.*\})$", output, re.M)
    if not found:
        raise Fault(f"wrk gave no result: {output.strip()[-300:]!r}")
    told = json.loads(found.group(1))
    if told["not_2xx"] or told["socket_errors"]:
        raise Fault(f"{told['not_2xx']} answers were errors, {told['socket_errors']} errors of sockets, of"
                    f" {told['requests']} requests")
    if not told["requests"]:
        raise Fault("not one request was answered")
    return {
        "requests": told["requests"],
        "seconds": told["duration_us"] / 1e6,
        "p50_ms": told["p50_us"] / 1000,
        "p99_ms": told["p99_us"] / 1000,
        "max_ms": told["max_us"] / 1000,
    }
