# SPDX-License-Identifier: Apache-2.0
"""tallygate-jobd on a database of its own (env.database), as many processes as a test wants."""
import json
import signal
import subprocess

from env.wait import BUILD, wait_for


class Jobd:
    """One process of a database's own."""

    def __init__(self, database, folder, **settings):
        self.database = database
        self.stack = database.stack
        self.folder = folder
        self.config = folder / "tallygate.conf"
        text = {"database_url": database.url, "secret_key_file": f"{self.stack.dir}/etc/secret.key", "drain_s": 5, **settings}
        self.config.write_text("".join(f"{key} = {value}\n" for key, value in text.items()))
        self.processes = []

    def start(self):
        log = open(self.folder / f"jobd-{len(self.processes)}.log", "ab")
        process = subprocess.Popen([str(BUILD / "tallygate-jobd"), "--config", str(self.config), "--metrics", str(self.folder / "jobd.metrics")],
                                   stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        self.processes.append(process)
        wait_for(lambda: process.poll() is not None or self.database.value("SELECT count(*) FROM job_runners WHERE pid = %s", process.pid), 30,
                 "it to live")
        assert process.poll() is None, self.log()
        return process

    def log(self):
        return "".join(path.read_text() for path in sorted(self.folder.glob("jobd-*.log")))

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        codes = [process.wait(60) for process in self.processes]
        assert set(codes) <= {0, -signal.SIGKILL, 1}, (codes, self.log())
        assert "Sanitizer" not in self.log() and "runtime error" not in self.log(), self.log()

    def ctl(self, *arguments, code=0):
        done = self.stack.ctl("--json", "jobs", *arguments, config=self.config)
        assert done.returncode == code, done
        return json.loads(done.stdout) if done.stdout.startswith("{") else done

    def put(self, count=1, type="nothing", priority=1):
        self.database.query("INSERT INTO jobs (type, priority) SELECT %s, %s FROM generate_series(1, %s)", type, priority, count)

    def count(self, where="true", table="jobs"):
        return self.database.value(f"SELECT count(*) FROM {table} WHERE {where}")
