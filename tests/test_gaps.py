"""Which gaps concern a token: one rule, asked by all that show or measure."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import touched_by
from pmlive.gaps import ENDLESS, GapIndex, concerning
from pmlive.tables import SCHEMAS

_ZERO = datetime(2026, 11, 28, tzinfo=UTC)
# The columns are: number, token, connection, beginning and end in seconds, cause.
_Row = tuple[int, str | None, int, int, int | None, str]


def _at(seconds: int) -> datetime:
    return _ZERO + timedelta(seconds=seconds)


def _ns(seconds: int) -> int:
    return int(_at(seconds).timestamp()) * 1_000_000_000


def _frame(*rows: _Row) -> pl.DataFrame:
    full = [
        (seq, None, _at(started), conn, token, _at(started), None if ended is None else _at(ended), cause, "why")
        for seq, token, conn, started, ended, cause in rows
    ]
    return pl.DataFrame(full, schema=SCHEMAS["gaps"], orient="row")


_OWN: _Row = (1, "7", 3, 10, 20, "mismatch")
_STRANGER: _Row = (1, "8", 3, 10, 20, "mismatch")
_LINK: _Row = (1, None, 3, 10, 20, "disconnect")
_OTHER_LINK: _Row = (1, None, 4, 10, 20, "disconnect")
_ALL: _Row = (1, None, 0, 10, 20, "disk")


@pytest.mark.parametrize(
    ("row", "conns", "is_concerned"),
    [
        (_OWN, (), True),
        (_OWN, (3,), True),
        (_OWN, None, True),
        (_STRANGER, (3,), False),
        (_STRANGER, None, False),
        (_LINK, (3,), True),
        (_LINK, (5, 3), True),
        (_LINK, (), False),
        (_LINK, None, True),
        (_OTHER_LINK, (3,), False),
        (_ALL, (), True),
        (_ALL, (3,), True),
    ],
)
def test_a_gap_concerns_its_token_its_connection_s_or_all(
    row: _Row,
    conns: tuple[int, ...] | None,
    is_concerned: bool,  # noqa: FBT001  # a column of the table
) -> None:
    frame = _frame(row)
    index = GapIndex(frame)

    assert concerning(frame, "7", conns).to_list() == [is_concerned]
    assert bool(index.of("7", conns=conns)) == is_concerned
    assert bool(index.between("7", _ns(15), _ns(16), conns=conns)) == is_concerned
    if conns is not None:
        assert any(gap.concerns("7", conn) for gap in index.all for conn in (conns or (0,))) == is_concerned
    intervals = pl.DataFrame({"token_id": ["7"], "start": [_at(15)], "end": [_at(16)]})
    carried = None
    if conns is not None:
        carried = pl.DataFrame(
            {"token_id": ["7"] * len(conns), "conn": list(conns)}, schema_overrides={"conn": pl.UInt32}
        )
        carried = carried.cast({"token_id": pl.String})
    assert touched_by(intervals, frame, conns=carried).to_list() == [is_concerned]


def test_a_gap_that_was_written_twice_is_one_with_its_last_end() -> None:
    index = GapIndex(_frame((1, "7", 3, 10, None, "mismatch"), (9, "7", 3, 10, 30, "mismatch")))

    (gap,) = index.of("7")

    assert (gap.started, gap.ended, gap.until) == (_ns(10), _ns(30), _ns(30))
    assert index.frame.height == 1


def test_a_gap_that_begins_where_an_earlier_one_began_is_another() -> None:
    """It does where nothing was proved since: the book of the first one's end is no proof."""
    rows = [(seq, "7", 3, 10, ended, "mismatch") for seq, ended in ((1, None), (2, 20), (3, None), (4, 30), (5, None))]

    for known in range(1, 6):
        told = [gap.ended for gap in GapIndex(_frame(*rows[:known])).of("7")]
        assert told == [[None], [_ns(20)], [_ns(20), None], [_ns(20), _ns(30)], [_ns(20), _ns(30), None]][known - 1]
    assert GapIndex(_frame(*rows)).between("7", _ns(40), _ns(41))
    # Without numbers nothing tells whether a row without an end came after one with it.
    assert [gap.ended for gap in GapIndex(_frame(*rows).drop("seq")).of("7")] == [_ns(20), _ns(30)]


def test_a_gap_without_an_end_lasts_until_another_run_tells_anew_or_the_book_was_known_to_be_right() -> None:
    index = GapIndex(_frame((1, "7", 3, 10, None, "mismatch"), (2, None, 0, 40, 50, "restart")))

    assert [gap.until for gap in index.of("7", conns=(3,))] == [_ns(50), _ns(50)]
    # A gap is dated back to the last proof, so a book that was trusted before it was told of proves nothing.
    assert index.of("7", conns=(3,), known=[(1, _ns(15)), (3, _ns(25))])[0].until == _ns(25)
    assert GapIndex(_frame((1, "7", 3, 10, None, "mismatch"))).of("7")[0].until == ENDLESS


_rows = st.lists(
    st.tuples(
        st.integers(1, 99),
        st.sampled_from([None, "7", "8"]),
        st.integers(0, 3),
        st.integers(0, 50),
        st.none() | st.integers(50, 99),
        st.sampled_from(["mismatch", "disconnect", "disk", "restart"]),
    ),
    max_size=12,
)


@given(_rows, st.integers(0, 100), st.integers(0, 3))
def test_every_way_of_asking_gives_the_same_answer(rows: list[_Row], time: int, conn: int) -> None:
    index = GapIndex(_frame(*rows))
    instant = pl.DataFrame({"token_id": ["7"], "start": [_at(time)], "end": [_at(time)]})
    carried = pl.DataFrame({"token_id": ["7"], "conn": [conn]}, schema_overrides={"conn": pl.UInt32})

    one_by_one = [gap for gap in index.all if gap.covers(_ns(time)) and gap.concerns("7", conn)]
    its = [gap for gap in index.of("7", conns=(conn,)) if gap.covers(_ns(time))]
    asked = index.frame.filter(concerning(index.frame, "7", (conn,)))

    assert one_by_one == its
    assert {(gap.started, gap.cause) for gap in its} <= {
        (int(started.timestamp()) * 1_000_000_000, cause) for started, cause in asked.select("started", "cause").rows()
    }
    inside = [gap for gap in its if gap.started < _ns(time) and gap.token_id is not None]
    assert not inside or touched_by(instant, index.frame, conns=carried).to_list() == [True]
