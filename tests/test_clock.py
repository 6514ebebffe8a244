"""Receive times by invented clocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlive.feed import Clock

S = 1_000_000_000
MS = 1_000_000
HOUR = 3600 * S
NOON = 1_795_262_400 * S
# What the wall clock may be off by without a word.
DRIFT = 100 * MS


class Hands:
    """A wall clock that people set, and a clock of what passes that they cannot."""

    def __init__(self, *, off: int = 0) -> None:
        self.true = NOON
        self.passed = 5 * S
        # By how much the wall clock is wrong.
        self.off = off

    @property
    def wall(self) -> int:
        return self.true + self.off

    def pass_(self, time: int) -> None:
        self.true += time
        self.passed += time


def clock(*, off: int = 0) -> tuple[Hands, Clock]:
    hands = Hands(off=off)
    return hands, Clock(lambda: hands.wall, lambda: hands.passed)


def run(hands: Hands, now: Clock, time: int, every: int = S // 4) -> list[int]:
    """Let time pass; list by how much ours is wrong whenever it is asked."""
    wrong: list[int] = []
    for _ in range(time // every):
        hands.pass_(every)
        wrong.append(now() - hands.true)
    return wrong


def test_the_clock_is_the_wall_clock() -> None:
    hands, now = clock()
    hands.pass_(HOUR)

    assert now() == hands.wall == NOON + HOUR


@pytest.mark.parametrize("off", [60 * S, -60 * S, HOUR, -HOUR, 50 * 365 * 24 * HOUR, -50 * 365 * 24 * HOUR])
@pytest.mark.parametrize("lasting", [1, 3, 9])
def test_a_wall_clock_that_is_wrong_for_some_seconds_is_not_believed(off: int, lasting: int) -> None:
    hands, now = clock()
    run(hands, now, 30 * S)

    hands.off = off
    wrong = run(hands, now, lasting * S)
    hands.off = 0
    wrong += run(hands, now, 30 * S)

    assert set(wrong) == {0}
    assert (now.step(), now.ahead) == (None, 0)


def test_a_wall_clock_that_is_wrong_time_and_again_is_not_believed() -> None:
    """What was wrong before says nothing of what is wrong now."""
    hands, now = clock()

    for off in (60, 0, 60, -60, 60, 0, 3600, 60, 7200):
        hands.off = off * S
        assert set(run(hands, now, 6 * S)) == {0}


@pytest.mark.parametrize("off", [2, 60, 3600, 56 * 365 * 86_400])
def test_a_wall_clock_that_was_behind_and_is_set_right_is_followed_once_it_lasts(off: int) -> None:
    """A computer without a clock of its own begins in 1970."""
    hands, now = clock(off=-off * S)
    run(hands, now, 30 * S)
    before = now()

    hands.off = 0
    wrong = run(hands, now, 12 * S)

    assert set(wrong) == {-off * S, 0}
    assert now() == hands.true
    step = now.step()
    assert step is not None
    assert step.by == off * S
    # Whatever was lost when a machine was stopped was lost after that.
    assert before - S <= step.since <= before
    assert now.step() is None


@pytest.mark.parametrize("off", [1, 60, 3600, 5 * 3600])
def test_a_wall_clock_that_was_ahead_and_is_set_right_is_waited_for_at_half_speed(off: int) -> None:
    hands, now = clock(off=off * S)
    run(hands, now, 30 * S)

    hands.off = 0
    run(hands, now, 12 * S)
    step, left = now.step(), now.ahead
    assert step is not None
    assert step.by == -off * S
    wrong = run(hands, now, 2 * off * S + S, every=S // 2)

    assert 0 < left <= off * S
    assert wrong == sorted(wrong, reverse=True)
    assert (wrong[-1], now.ahead) == (0, 0)


def test_what_was_set_ahead_and_back_again_comes_right() -> None:
    """Ahead for longer than anybody would believe to be a mistake: a minute."""
    hands, now = clock()
    hands.off = 60 * S
    run(hands, now, 60 * S)
    assert now() - hands.true == 60 * S

    hands.off = 0
    run(hands, now, 12 * S + 120 * S)

    assert now() == hands.true


def test_sleep_is_followed_at_once_whatever_the_wall_clock_says() -> None:
    hands, now = clock()
    hands.pass_(8 * HOUR)
    hands.off = -8 * HOUR

    assert now() == hands.true


@pytest.mark.parametrize("drift", [20 * MS, -20 * MS])
def test_drift_is_followed_without_a_word(drift: int) -> None:
    """The clock of a cheap machine, and one that is set right a little each second."""
    hands, now = clock()

    for _ in range(600):
        hands.off += drift
        hands.pass_(S)
        assert abs(now() - hands.wall) <= DRIFT

    assert now.step() is None


HISTORY = st.lists(
    st.tuples(st.integers(0, 100 * S) | st.integers(0, 2 * S), st.integers(-(10**6) * S, 10**6 * S) | st.just(0)),
    max_size=50,
)


@given(HISTORY)
def test_time_never_goes_backwards(history: list[tuple[int, int]]) -> None:
    hands, now = clock()
    last = now()

    for passed, adjusted in history:
        for part in (passed // 2, passed - passed // 2):
            hands.pass_(part)
            assert now() >= last
            last = now()
        hands.off += adjusted
        assert now() >= last
        last = now()


@given(HISTORY)
def test_time_comes_right_whatever_was_done_to_the_wall_clock(history: list[tuple[int, int]]) -> None:
    """Ten seconds after the last, and after twice as long as ours is ahead then."""
    hands, now = clock()
    for passed, adjusted in history:
        hands.pass_(passed)
        now()
        hands.off += adjusted

    hands.off = 0
    run(hands, now, 12 * S)
    run(hands, now, 3 * now.ahead + 2 * S, every=max(S // 2, now.ahead // 50))

    assert now() == hands.true
    assert now.ahead == 0
