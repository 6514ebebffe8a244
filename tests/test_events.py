"""Times read as nanoseconds always fit a column, and the vocabulary is complete."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlive import errors, events
from pmlive.events import epoch_ns


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [
        (0, 0),
        (100000000, 100000000),
        (1672290701, 1672290701),
        (1672290701000, 1672290701),
        (123456789000, 123456789),
        (8_999_999_999, 8_999_999_999),
        (9_000_000_000, 9_000_000),
    ],
)
def test_a_time_is_seconds_until_2255_and_milliseconds_above(timestamp: int, seconds: int) -> None:
    assert epoch_ns(timestamp) == seconds * 1_000_000_000


@given(st.integers(0, 9_000_000_000_000 - 1))
def test_every_time_the_venue_may_send_fits_64_bits(timestamp: int) -> None:
    assert 0 <= epoch_ns(timestamp) < 2**63


def test_every_event_is_listed_and_named_once() -> None:
    listed = {kind.__name__ for kind in get_args(events.Event)}

    assert listed <= set(events.__all__)
    assert len(set(events.__all__)) == len(events.__all__)
    assert all(hasattr(events, name) for name in events.__all__)


def test_every_error_of_ours_can_be_caught_as_one() -> None:
    ours = [getattr(errors, name) for name in errors.__all__]

    assert all(issubclass(kind, errors.PmliveError) for kind in ours)
    assert issubclass(errors.UnknownMarketError, LookupError)
    assert not issubclass(errors.PmliveError, ValueError | TypeError)
