# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition: the only place where tests sleep."""
import os
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TALLYGATE_BUILD") or TOP / "build").resolve()


def _patience():
    """Programs with sanitizers are several times slower, so deadlines stretch with them."""
    try:
        program = (BUILD / "tallygate-fcgi").read_bytes()
    except OSError:
        return 1
    return 8 if b"__tsan_" in program or b"__asan_" in program else 1


PATIENCE = _patience()


def wait_for(condition, deadline_s=15, what=None, every_s=0.02):
    """Call `condition` until it gives something true, and return that.

    Raises AssertionError once `deadline_s` (stretched for slow builds) is over, with `what` or
    with the last false value.
    """
    until = time.monotonic() + deadline_s * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {deadline_s * PATIENCE} s: {what or condition} (last: {value!r})")
        time.sleep(every_s)
