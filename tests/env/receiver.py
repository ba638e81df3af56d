# SPDX-License-Identifier: Apache-2.0
"""A receiver of webhooks: it takes what comes, and answers what the test wants."""
import collections
import contextlib
import http.server
import json
import subprocess
import threading

from env import clients

Taken = collections.namedtuple("Taken", "path headers body")
SECRET_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class Receiver(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address="127.0.0.1"):
        self.taken = []
        self.answers = {}          # by path: a list of what to say next; else 200
        self.always = {}           # by path: what to say each time
        self.hang = {}             # by path: an event; what comes waits for it
        self.lock = threading.Lock()
        self.under_way = collections.Counter()
        self.most = collections.Counter()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(handler):
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                with self.lock:
                    self.taken.append(Taken(handler.path, dict(handler.headers), body))
                    self.under_way[handler.path] += 1
                    self.most[handler.path] = max(self.most[handler.path], self.under_way[handler.path])
                    waiting = self.answers.get(handler.path)
                    answer = waiting.pop(0) if waiting else self.always.get(handler.path, 200)
                if handler.path in self.hang:
                    self.hang[handler.path].wait(60)
                with self.lock:
                    self.under_way[handler.path] -= 1
                with contextlib.suppress(OSError):
                    self.answer(handler, answer)

            def log_message(handler, *_):
                pass

        super().__init__((address, 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # whoever asked has gone

    @staticmethod
    def answer(handler, answer):
        """A status, or (status, headers, body); None: hang up."""
        if answer is None:
            handler.close_connection = True
            return
        status, headers, body = answer if isinstance(answer, tuple) else (answer, {}, b"taken")
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for event in self.hang.values():
            event.set()
        self.shutdown()
        self.server_close()

    def url(self, path="/hook"):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def at(self, path="/hook"):
        with self.lock:
            return [one for one in self.taken if one.path == path]

    def events(self, path="/hook"):
        return [json.loads(one.body) for one in self.at(path)]


def verify(secret, *taken):
    """What npm's standardwebhooks says of each: its event, or why it is not to be trusted."""
    given = {"secret": secret, "requests": [{"headers": {name: one.headers[name] for name in SECRET_HEADERS}, "body": one.body.decode()} for one in taken]}
    done = subprocess.run(["node", str(clients.FOLDER / "webhooks.js")], input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
