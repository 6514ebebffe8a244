import polars as pl
import pytest
from analysing import gaps, mids, times
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import broken, drop_touched, mark, touched_by
from pmlive.tables import SCHEMAS

_edges = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted).map(tuple)


def intervals(spans: list[tuple[int, int]], token_id: str = "yes") -> pl.DataFrame:
    start, end = ([span[at] for span in spans] for at in (0, 1))
    return pl.DataFrame({"start": times(start), "end": times(end)}).with_columns(token_id=pl.lit(token_id))


def touched(start: int, end: int, gap: pl.DataFrame) -> bool:
    return bool(touched_by(intervals([(start, end)]), gap).item())


def test_an_interval_that_meets_a_gap_at_an_edge_is_whole() -> None:
    gap = gaps([(10, 20)])

    assert not touched(0, 10, gap)
    assert touched(0, 11, gap)
    assert touched(10, 11, gap)
    assert touched(19, 30, gap)
    assert not touched(20, 30, gap)


def test_an_instant_is_touched_within_a_gap_and_not_at_its_edges() -> None:
    gap = gaps([(10, 20)])

    assert [touched(at, at, gap) for at in (10, 11, 19, 20)] == [False, True, True, False]


def test_an_open_gap_lasts_for_ever() -> None:
    assert touched(10**9, 10**9 + 1, gaps([(10, None)]))


def test_a_gap_that_was_written_while_it_lasted_ends_when_it_ended() -> None:
    assert not touched(30, 40, gaps([(10, None), (10, 20)]))


def test_a_gap_without_length_touches_the_interval_that_it_lies_in() -> None:
    gap = gaps([(10, 10)])

    assert [touched(0, 10, gap), touched(10, 20, gap), touched(0, 20, gap)] == [False, True, True]


def test_a_gap_of_one_token_is_none_of_another() -> None:
    assert touched_by(intervals([(0, 30)], "no"), gaps([(10, 20)])).to_list() == [False]


def test_a_gap_of_a_connection_concerns_the_tokens_that_came_by_it() -> None:
    both = pl.concat([intervals([(0, 30)], "yes"), intervals([(0, 30)], "no")])
    conns = pl.concat([mids([(0, 0.5)], token_id="yes", conn=3), mids([(0, 0.5)], token_id="no", conn=4)])

    assert touched_by(both, gaps([(10, 20)], token_id=None, conn=3), conns=conns).to_list() == [True, False]
    assert touched_by(both, gaps([(10, 20)], token_id=None, conn=9), conns=conns).to_list() == [False, False]


def test_a_gap_of_the_recorder_concerns_every_token() -> None:
    conns = mids([(0, 0.5)], conn=3)

    assert touched_by(intervals([(0, 30)]), gaps([(10, 20)], token_id=None, conn=0), conns=conns).to_list() == [True]


def test_without_knowing_connections_a_gap_of_one_concerns_every_token() -> None:
    assert touched_by(intervals([(0, 30)]), gaps([(10, 20)], token_id=None, conn=7)).to_list() == [True]


def test_another_gap_of_a_token_tells_that_it_came_by_a_connection() -> None:
    known = pl.concat([gaps([(100, 110)], conn=3), gaps([(10, 20)], token_id=None, conn=3)])

    assert touched_by(intervals([(0, 30)]), known, conns=mids([(0, 0.5)], conn=2)).to_list() == [True]


def test_an_empty_table_of_gaps_touches_nothing() -> None:
    assert touched_by(intervals([(0, 30)]), SCHEMAS["gaps"].to_frame()).to_list() == [False]


@given(st.lists(_edges, max_size=6), st.lists(_edges, min_size=1, max_size=6))
def test_touching_equals_comparing_with_every_gap(known: list[tuple[int, int]], spans: list[tuple[int, int]]) -> None:
    def meets(start: int, end: int, started: int, ended: int) -> bool:
        return started < end and (ended > start or started >= start)

    found = touched_by(intervals(spans), gaps(known)).to_list()

    assert found == [any(meets(*span, *gap) for gap in known) for span in spans]


def test_touched_intervals_are_flagged_with_nulls_or_dropped() -> None:
    measured = intervals([(0, 10), (10, 20)]).with_columns(value=pl.Series([1.0, 2.0]))
    gap, conns = gaps([(12, 13)]), mids([(0, 0.5)])

    flagged = mark(measured, gap, conns=conns, measured=["value"], touched="flag")
    dropped = mark(measured, gap, conns=conns, measured=["value"], touched="drop")

    assert flagged.select("value", "touched").rows() == [(1.0, False), (None, True)]
    assert dropped.select("value", "touched").rows() == [(1.0, False)]
    assert drop_touched(measured, gap)["value"].to_list() == [1.0]


def test_without_gaps_nobody_knows_what_was_touched() -> None:
    measured = intervals([(0, 10)]).with_columns(value=pl.Series([1.0]))

    unknown = mark(measured, None, conns=measured, measured=["value"], touched="drop")

    assert unknown.select("value", "touched").rows() == [(1.0, None)]


def test_another_word_for_what_to_do_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid touched 'fill'; expected 'exclude', 'flag' or 'drop'"):
        mark(intervals([]), None, conns=intervals([]), measured=[], touched="fill")  # pyright: ignore[reportArgumentType]  # what is tested


def test_a_row_is_broken_if_a_gap_lies_before_it() -> None:
    rows = mids([(0, 0.5), (10, 0.51), (30, 0.52)])

    assert broken(rows, gaps([(10, 20)])).to_list() == [False, False, True]
    assert broken(rows, None).to_list() == [False, False, False]
