"""Where the tests of all folders get the markers ``io`` and, for cases that are not ``quick``, ``slow`` from.

And how they are collected: in each process anew, which is a tenth of all the work.
"""

import gc
from collections.abc import Generator

import pytest

pytest_plugins = ["tests.support.outside", "tests.support.quick"]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage among what stays anyway, also later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
