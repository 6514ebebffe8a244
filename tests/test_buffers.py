"""Rows come out as they went in, whole or in parts."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pmlive.pipeline.rows import PackedRows, Rows, StringTable, ladder
from pmlive.tables import SCHEMAS

_NOON = 1_795_262_400_000_000_000
_TOKENS = ("1", "22", "")
_SIDES, _CHECKS = ("bid", "ask"), ("verified", "unverifiable", "mismatch", "skipped")

numbers = st.none() | st.floats(0, 1e9)
deltas = st.tuples(
    st.sampled_from(_TOKENS), st.sampled_from(_SIDES), st.floats(0, 1), numbers, numbers, st.sampled_from(_CHECKS)
)


def packed(rows: list[tuple[str, str, float, float | None, float | None, str]]) -> PackedRows:
    """Pack level changes, numbered from 1 and a second apart."""
    some = PackedRows("book_deltas", StringTable())
    names, words = some.names, some.words
    for seq, (token, side, price, size, bid, check) in enumerate(rows, 1):
        given = [math.nan if number is None else number for number in (price, size, bid, bid)]
        sides, checks = words["side"][side], words["check"][check]
        some.put(some.pack(seq, _NOON // 1_000_000, _NOON + seq, 3, names[token], names["0xa"], sides, *given, checks))
    return some


@given(st.lists(deltas, max_size=20), st.integers(0, 20))
def test_packed_rows_are_the_frame_of_their_values(
    rows: list[tuple[str, str, float, float | None, float | None, str]], first: int
) -> None:
    expected = pl.DataFrame(
        [
            (seq, _NOON, _NOON + seq, 3, token, "0xa", side, price, size, bid, bid, check)
            for seq, (token, side, price, size, bid, check) in enumerate(rows, 1)
        ],
        schema=SCHEMAS["book_deltas"],
        orient="row",
    )
    some = packed(rows)

    width = len(some.buffer) // max(len(rows), 1)

    parts = [some.take(min(first, len(rows)) * width), some.take()]

    assert_frame_equal(pl.concat(parts), expected)
    assert (len(some), some.taken) == (0, len(rows) * width)


def test_a_packed_row_can_be_changed_until_it_is_taken() -> None:
    some = packed([("1", "bid", 0.5, 1.0, None, "unverifiable")] * 3)
    width = len(some.buffer) // 3

    some.take(before=width)
    some.amend(2 * width, "check", some.words["check"]["mismatch"])

    assert some.take()["check"].to_list() == ["unverifiable", "mismatch"]


def test_an_empty_side_has_neither_mid_nor_spread() -> None:
    prices = PackedRows("prices", StringTable())
    for bid in (0.48, math.nan):
        prices.put(prices.pack(1, _NOON // 1_000_000_000, _NOON, 1, 0, prices.names["1"], bid, bid, 0.52, 7.0))

    frame = prices.take()

    assert frame.schema == SCHEMAS["prices"]
    assert frame["best_bid"].to_list() == [0.48, None]
    assert (frame["mid"].to_list(), frame["spread"].to_list()) == ([0.5, None], [0.04, None])


@pytest.mark.parametrize("times", [1, 1000])
def test_rows_with_lists_keep_their_lengths(times: int) -> None:
    rows = Rows("depth")
    for bids in ([-0.4], [], [-0.4, -0.3, -0.2]) * times:
        rows.put((1, _NOON, _NOON, 1, "1", "0xa", *map(ladder, (bids, bids, [0.5], [9.0]))))

    frame = rows.take()

    assert frame["bid_prices"].to_list() == [[0.4], [], [0.4, 0.3, 0.2]] * times
    assert frame["ask_prices"].to_list() == [[0.5]] * 3 * times
