# SPDX-License-Identifier: Apache-2.0
"""Clients that are not ours, from npm: see tests/clients/."""
import json
import os
import subprocess

from env.wait import TOP

FOLDER = TOP / "tests" / "clients"


def run(stack, script, order):
    """What a script prints, as JSON; it gets `order` as JSON and trusts the stack's certificate."""
    assert (FOLDER / "node_modules").is_dir(), "./dev/deps test installs what it needs"
    done = subprocess.run(
        ["node", str(FOLDER / script)], input=json.dumps(order), capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(stack.cert)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
