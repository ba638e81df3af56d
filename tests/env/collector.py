# SPDX-License-Identifier: Apache-2.0
"""A collector of traces, which keeps what it is sent by OTLP/HTTP."""
import contextlib
import http.server
import json
import threading


class Collector(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        self.bodies = []
        self.statuses = []   # what to answer next; else 200
        self.hang = threading.Event()  # cleared: answers wait
        self.hang.set()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(handler):
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                self.hang.wait(30)
                status = self.statuses.pop(0) if self.statuses else 200
                if status == 200:
                    assert handler.path == "/v1/traces" and handler.headers["Content-Type"] == "application/json"
                    self.bodies.append(json.loads(body))
                with contextlib.suppress(BrokenPipeError):  # whoever asked may have ended
                    handler.send_response(status)
                    handler.send_header("Content-Length", "2")
                    handler.end_headers()
                    handler.wfile.write(b"{}")

            def log_message(handler, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    def spans(self):
        return [span for body in list(self.bodies) for resource in body["resourceSpans"] for scope in resource["scopeSpans"] for span in scope["spans"]]

    def of(self, trace):
        return [span for span in self.spans() if span["traceId"] == trace]


def attributes(span):
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}
