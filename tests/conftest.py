# SPDX-License-Identifier: Apache-2.0
"""Stacks for tests.

`stack` serves all tests of a process that leave it as it is: no test may stop or reconfigure it,
nor count on what others left in it. `make_stack` is for the tests of one file that need settings of
their own or break things. `user` is somebody new for each test.
"""
import pytest

from env.stack import Stack


class Failures:
    """Whether a stack's logs are worth keeping."""

    def __init__(self):
        self.stacks = set()


_failures = Failures()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for value in getattr(item, "funcargs", {}).values():
        values = value if isinstance(value, tuple) else [value]
        found = [one if isinstance(one, Stack) else getattr(one, "stack", None) for one in values]
        found = [one for one in found if isinstance(one, Stack)]
        if found:
            _failures.stacks.update(found)
            report.sections += [("stack", f"its logs are kept in {one.dir}/log") for one in found]
            break


def _run(settings=None, limits=None, jobs=False):
    stack = Stack(settings, limits, jobs)
    try:
        return stack.up()
    except BaseException:
        stack.remove(keep_logs=True)
        raise


def _end(stack):
    stack.remove(keep_logs=stack in _failures.stacks)


@pytest.fixture(scope="session")
def stack():
    running = _run()
    yield running
    _end(running)


@pytest.fixture(scope="module")
def make_stack():
    """Call it with settings of tallygate.conf, `limits` for nginx (None: limits out of the way), and `jobs` to run background jobs."""
    made = []

    def make(limits=None, jobs=False, **settings):
        made.append(_run(settings, limits, jobs))
        return made[-1]

    yield make
    for running in made:
        _end(running)


@pytest.fixture
def client(stack):
    """Nobody."""
    return stack.client


@pytest.fixture
def user(stack):
    return stack.new_user()


@pytest.fixture
def other(stack):
    """Another tenant."""
    return stack.new_user()
