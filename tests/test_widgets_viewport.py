"""The span of time that charts of one group share: the script itself, run by Node."""

from collections.abc import Sequence
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.page import Shown, walked

Step: TypeAlias = Sequence[object]

FIRST, EDGE = 1_000_000.0, 1_600_000.0
NARROWEST = 50.0


def heard(
    chart: int = 0, *, first: float = FIRST, edge: float = EDGE, window: float = 300_000, room: float = 50
) -> Step:
    return ("hear", chart, {"times": [first, edge], "now": edge, "window": window, "room": room})


def last(*steps: Step) -> Shown:
    return walked(steps)[-1]


moves = st.one_of(
    st.tuples(st.just("zoom"), st.floats(0.05, 20), st.floats(FIRST, EDGE)),
    st.tuples(st.just("pan"), st.floats(-1e6, 1e6)),
    st.tuples(st.just("everything")),
    st.tuples(st.just("follow")),
)


@examples(150)
@given(st.lists(moves, min_size=1, max_size=8))
def test_whatever_is_done_the_span_is_one_of_which_something_is_known(steps: list[Step]) -> None:
    shown = walked([heard(), heard(1), *steps])

    for before, (kind, *_), after in zip(shown[1:], steps, shown[2:], strict=False):
        start, end = after.span
        assert start >= FIRST - 1
        assert end <= EDGE + 1
        assert end - start >= NARROWEST - 1
        assert after.live == (end == EDGE)
        if kind in {"zoom", "pan", "everything"}:
            assert after.changed == (after.span != pytest.approx(before.span, abs=1e-3))


@examples(100)
@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_a_zoom_leaves_the_time_under_the_pointer_where_it_is(times: float, share: float) -> None:
    about = EDGE - 300_000 * (1 - share)

    start, end = last(heard(), ("zoom", times, about)).span

    assert end - start == pytest.approx(300_000 * times)
    assert (about - start) / (end - start) == pytest.approx(share)


def test_all_charts_are_drawn_together_when_the_span_moves_and_alone_when_it_does_not() -> None:
    shown = walked([heard(), heard(1), heard(0, edge=EDGE + 1), heard(1, edge=EDGE + 10_000)])

    assert shown[2].painted == [0]
    assert sorted(shown[3].painted) == [0, 1]
    assert shown[3].drawn[1] >= EDGE + 10_000


def test_all_charts_have_the_room_beside_them_that_one_needs() -> None:
    shown = walked([heard(), heard(1), heard(1, room=190), heard(1, room=50)])

    assert [each.margin for each in shown] == [50, 50, 190, 50]
    assert [sorted(each.painted) for each in shown[2:]] == [[0, 1], [0, 1]]


def test_what_somebody_looks_at_stands_still_while_more_comes() -> None:
    shown = walked([heard(), ("zoom", 0.5, EDGE - 200_000), heard(edge=EDGE + 60_000)])

    assert not shown[1].live
    assert shown[2].span == shown[1].span == shown[2].drawn


def test_a_span_that_ends_at_the_edge_goes_on_with_it() -> None:
    shown = walked([heard(), ("zoom", 0.5, EDGE), heard(edge=EDGE + 60_000)])

    assert shown[1].live
    assert shown[2].span == (EDGE - 90_000, EDGE + 60_000)


def test_a_chart_that_knows_less_of_the_present_does_not_hold_the_others_back() -> None:
    shown = walked([heard(0, edge=EDGE), heard(1, edge=EDGE - 900), heard(0, edge=EDGE + 5)])

    assert [each.span[1] for each in shown] == [EDGE, EDGE, EDGE + 5]


def test_a_replay_that_goes_back_takes_all_charts_along_also_those_that_are_not_told() -> None:
    shown = walked([heard(0), heard(1), ("zoom", 0.5, EDGE - 100_000), heard(0, edge=EDGE - 400_000)])

    assert shown[-1].live
    assert shown[-1].span == (FIRST, EDGE - 400_000)


def test_an_old_picture_with_which_a_view_begins_does_not_take_the_others_back() -> None:
    shown = walked([heard(0), heard(1, edge=EDGE - 400_000)])

    assert shown[-1].span[1] == EDGE


def test_another_window_is_shown_at_once_whatever_was_shown() -> None:
    shown = walked([heard(), ("zoom", 0.1, EDGE - 100_000), heard(window=60_000)])

    assert shown[-1].live
    assert shown[-1].span == (EDGE - 60_000, EDGE)


def test_charts_with_several_windows_leave_alone_what_somebody_looks_at() -> None:
    both = [heard(0, window=60_000), heard(1)]

    shown = walked([*both, ("zoom", 0.5, EDGE - 100_000), *both])

    assert not shown[-1].live
    assert shown[-1].span == shown[2].span


def test_no_window_shows_everything() -> None:
    assert last(heard(window=0)).span == (FIRST, EDGE)


def test_what_cannot_become_longer_says_so() -> None:
    shown = walked([heard(window=0), ("zoom", 1.5, EDGE), ("pan", 1000.0), ("everything",)])

    assert not any(each.changed for each in shown)


@pytest.mark.parametrize(("window", "length"), [(300_000, 300_000), (0, 60_000)])
def test_a_window_is_shown_as_long_as_it_will_be_while_nothing_is_known(window: float, length: float) -> None:
    nothing: Step = ("hear", 0, {"times": [], "now": EDGE, "window": window, "room": 50})

    assert last(nothing).span == (EDGE - length, EDGE)
