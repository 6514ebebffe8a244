"""The marker ``quick``: how many cases of a test run after every change; the others are slow.

The cases are chosen at random, but always the same ones, so that none of several parameters is left out by a pattern.
"""

import random
from collections import defaultdict

import pytest

__all__ = ["is_quick"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases that are not quick as slow."""
    cases: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("quick") is not None and item.get_closest_marker("slow") is None:
            cases[item.nodeid.partition("[")[0]].append(item)
    for test, its in cases.items():
        marker = its[0].get_closest_marker("quick")
        count = 0 if marker is None else int(marker.args[0])
        for at, item in enumerate(its):
            if not is_quick(test, at, of=len(its), count=count):
                item.add_marker("slow")


def is_quick(test: str, at: int, *, of: int, count: int) -> bool:
    """Check whether a case is one of the quick ones of a test.

    >>> [is_quick("test_a", at, of=4, count=2) for at in range(4)].count(True)
    2
    """
    return at in random.Random(test).sample(range(of), min(count, of))
