# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from machine import Machine, make_base

WORK = Path(os.environ["TALLYGATE_SYSTEM"])


@pytest.fixture(scope="session")
def base(packages):
    """The machine before Tallygate comes."""
    root = WORK / "base"
    if not (WORK / "base.made").exists():
        shutil.rmtree(root, ignore_errors=True)
        make_base(root, packages["this"])
        (WORK / "base.made").touch()
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
