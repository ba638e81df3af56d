# SPDX-License-Identifier: Apache-2.0
"""The EXAMPLES of tallygatectl(8): each is run, in their order, and shows what the page shows; every command has one."""
import os
import re
import subprocess

import pytest

from env.stack import command_environment
from env.wait import BUILD, TOP

PAGE = TOP / "man" / "tallygatectl.8"
# What an example finds when it begins.
GIVEN = {"/root/first-password": "an engine of brass\n", "/root/another-password": "quite another 77 sentence\n",
         "/root/history.csv": "id,type,value,user_id,metadata,timestamp\n"
                              "a,api_call,1,ann,,2024-05-06T07:08:09Z\nb,cost,0.25,ann,{},2026-06-07T08:09:10Z\nc,api_call,1,bob,,2026-06-07T08:09:10Z\n"}


def examples():
    """Pairs of a command and the lines that the page shows of its answer."""
    section = PAGE.read_text().split("\n.Sh EXAMPLES\n")[1].split("\n.Sh ")[0]
    pairs = []
    for block in re.findall(r"(?ms)^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", section):
        for line in block.replace("\\e", "\\").splitlines():
            if line.startswith("# "):
                pairs.append((line[2:], []))
            else:
                pairs[-1][1].append(line)
    return pairs


def shape(line):
    """A line without what is of its time and place: numbers and words that have digits, and how wide columns are."""
    return [re.sub(r"\d", "0", word) if len(word) < 14 else "…" for word in line.split()]


@pytest.fixture(scope="module")
def place(make_stack, tmp_path_factory):
    """A stack, and a shell's view of it in which /root, /etc/tallygate and /var/lib/tallygate lie elsewhere."""
    stack = make_stack(bcrypt_cost=4)
    top = tmp_path_factory.mktemp("examples")
    for name in ("root", "etc/tallygate", "var/lib/tallygate/archive", "var/lib/tallygate/backup", "bin"):
        (top / name).mkdir(parents=True)
    config = stack.config.read_text() + (f"archive_dir = {top}/var/lib/tallygate/archive\nbackup_dir = {top}/var/lib/tallygate/backup\n"
                                         f"backup_passphrase_file = {top}/etc/tallygate/backup.passphrase\n")
    (top / "etc/tallygate/tallygate.conf").write_text(config)
    # --config of the page's own comes after this one, and counts.
    more = f'case $1 in doctor) set -- "$@" --certificate {stack.cert} --sockets {stack.dir}/run ;; status | metrics) set -- "$@" --sockets {stack.dir}/run ;; esac'
    (top / "bin/tallygatectl").write_text(f'#!/bin/sh\n{more}\nexec {BUILD}/tallygatectl --config {top}/etc/tallygate/tallygate.conf "$@"\n')
    (top / "bin/tallygatectl").chmod(0o755)
    for path, text in GIVEN.items():
        (top / path[1:]).write_text(text)
    stack.postgres.query('CREATE DATABASE "again" OWNER tallygate', database="postgres", user="postgres")
    stack.place = top
    return stack


def run(stack, line):
    here = line.replace("/etc/tallygate/tls/cert.pem", str(stack.cert)).replace("https://localhost", stack.url)
    here = re.sub(r"(?<![\w./-])/(root|etc/tallygate|var/lib/tallygate)\b", lambda found: f"{stack.place}{found[0]}", here)
    environment = {**command_environment(), "PATH": f"{stack.place}/bin:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-o", "pipefail", "-c", here], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL,
                          timeout=120, check=False)


def test_each_example_does_what_the_page_says(place):
    for line, shown in examples():
        done = run(place, line)
        assert done.returncode == 0, (line, done)
        printed = [shape(text) for text in done.stdout.splitlines()]
        for text in shown:
            assert shape(text) in printed, f"{line}\nshows: {text}\nprinted:\n{done.stdout}"
    # What the last ones did, they did.
    assert place.postgres.value("SELECT count(*) FROM users", database="again") == 2
    assert place.postgres.value("SELECT count(*) FROM workspaces WHERE name = 'The shop' AND closed_at IS NOT NULL") == 1


def test_each_command_has_an_example():
    told = subprocess.run([BUILD / "tallygatectl", "--help"], capture_output=True, text=True, check=True).stdout
    commands = set(re.findall(r"(?m)^  ([a-z]\S*)", told))
    assert commands - {word for line, _ in examples() for word in re.findall(r"tallygatectl (?:--\S+ (?:/\S+ )?)*([a-z]+)", line)} == set()
