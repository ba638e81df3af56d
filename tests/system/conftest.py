# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from machine import SERVERS, Machine, make_base, needed_by

WORK = Path(os.environ["TALLYGATE_SYSTEM"])


@pytest.fixture(scope="session")
def base(packages):
    """The machine before Tallygate comes."""
    root, made = WORK / "base", WORK / "base.made"
    needed = " ".join([*SERVERS, *needed_by(packages["this"])])
    if not made.exists() or made.read_text() != needed:
        shutil.rmtree(root, ignore_errors=True)
        make_base(root, packages["this"])
        made.write_text(needed)
    return root


@pytest.fixture(scope="session")
def packages():
    """The package as it is, and one of a later version."""
    return {name: next((WORK / name).glob("tallygate_*.deb")) for name in ("this", "next")}


@pytest.fixture(scope="module")
def machine(base):
    root = WORK / "machine"
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True)
    (root / "etc" / "hostname").write_text("localhost\n")
    made = Machine(root, WORK / "console.log")
    try:
        yield made.boot()
    finally:
        made.shut_down()
        shutil.rmtree(root, ignore_errors=True)
