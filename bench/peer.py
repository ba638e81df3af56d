# SPDX-License-Identifier: Apache-2.0
"""The peers: FastAPI with asyncpg and Fastify with pg, two workers each, behind the stack's nginx."""
import os
import signal
import subprocess
from pathlib import Path

import machine
import request
from env.stack import command_environment
from env.wait import wait_for

HERE = Path(__file__).parent / "peers"
FASTIFY = HERE / "fastify"
WORKERS = 2
CONNECTIONS = 16  # to PostgreSQL, of each worker

TABLE = """
CREATE TABLE peer_events (
    id           bigserial PRIMARY KEY,
    workspace_id bigint NOT NULL,
    type         text NOT NULL,
    value        double precision NOT NULL,
    user_id      text NOT NULL,
    metadata     jsonb,
    occurred_at  timestamptz NOT NULL DEFAULT now()
)
"""


class Peer:
    def __init__(self, stack, name, command, directory, environment):
        self.stack, self.name, self.path = stack, name, f"/bench/{name}"
        with (stack.dir / "log" / f"{name}.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env={**command_environment(), **environment})
        try:
            wait_for(self._serves, 30, f"an answer of {name}, whose log is {log.name}", every_s=0.2)
        except BaseException:
            self.stop()
            raise

    def _serves(self):
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} has ended with {self._process.returncode}")
        return self.stack.client.post(self.path, request.event("x")).status == 201

    def processes(self):
        return machine.family(self._process.pid)

    def stop(self):
        """The whole session: a master that was killed would leave its workers."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(10)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                pass


def make_database(stack):
    stack.postgres.make_database("peers")
    stack.psql(TABLE, database="peers")


def start_fastapi(stack):
    command = ["/usr/bin/python3", "-m", "uvicorn", "app:app", "--workers", str(WORKERS), "--loop", "uvloop",
               "--http", "httptools", "--uds", str(stack.dir / "run" / "fastapi.sock"), "--no-access-log",
               "--timeout-keep-alive", "75"]
    return Peer(stack, "fastapi", command, HERE / "fastapi", {
        "DATABASE_URL": f"postgresql://tallygate@/peers?host={stack.dir}/run/pg",
        "POOL_SIZE": str(CONNECTIONS), "PYTHONDONTWRITEBYTECODE": "1"})


def start_fastify(stack):
    return Peer(stack, "fastify", ["node", "server.js"], FASTIFY, {
        "PG_DIRECTORY": f"{stack.dir}/run/pg", "SOCKET": f"{stack.dir}/run/fastify.sock",
        "POOL_SIZE": str(CONNECTIONS), "WORKERS": str(WORKERS), "NODE_ENV": "production"})


START = {"fastapi": start_fastapi, "fastify": start_fastify}
