# SPDX-License-Identifier: Apache-2.0
"""An unknown address must not answer sooner than a wrong password.

What is compared is the ratio of two medians of alternating attempts in one run. Where the hash was left
out, it would be about 1:40, so the bounds leave room for a busy machine and still cannot miss it.
"""
import statistics
import time

import pytest


def seconds_of(call):
    before = time.perf_counter()
    assert call().status == 401
    return time.perf_counter() - before


@pytest.mark.parametrize("stored_cost", [10, 8, 12], ids=["same cost", "hashed before the cost was raised", "before it was lowered"])
def test_unknown_addresses_take_as_long(make_stack, stored_cost):
    stack = make_stack(bcrypt_cost=stored_cost)
    user = stack.new_user()
    if stored_cost != 10:
        stack.down()
        stack.up(bcrypt_cost=10)
    wrong, unknown = [], []
    for n in range(15):
        wrong.append(seconds_of(lambda: stack.client.post("/auth/login", {"email": user.email, "password": "x" * 12})))
        unknown.append(seconds_of(
            lambda n=n: stack.client.post("/auth/login", {"email": f"nobody{n}@example.org", "password": "x" * 12})))
    ratio = statistics.median(unknown) / statistics.median(wrong)
    print(f"unknown {statistics.median(unknown) * 1e3:.1f} ms, wrong {statistics.median(wrong) * 1e3:.1f} ms, ratio {ratio:.3f}")
    assert 0.6 < ratio < 1.6
