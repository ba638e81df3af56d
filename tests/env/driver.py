# SPDX-License-Identifier: Apache-2.0
"""A C program of tests/drivers, spoken to line by line."""
import subprocess

from env.wait import BUILD


class Driver:
    def __init__(self, name, *arguments):
        target = f"tests/drivers/{name}"
        done = subprocess.run(["make", "-s", "-C", str(BUILD), target], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        self.process = subprocess.Popen([str(BUILD / target), *map(str, arguments)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def send(self, line):
        """A line whose answer is read later."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def read(self):
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return line.rstrip("\n")

    def ask(self, line):
        self.send(line)
        return self.read()

    def end(self):
        """Returns what it logged."""
        _, log = self.process.communicate()
        assert self.process.returncode == 0, log
        return log
