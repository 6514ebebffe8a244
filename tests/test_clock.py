"""Receive times by invented clocks."""

from hypothesis import given
from hypothesis import strategies as st

from pmlive.feed import Clock

S = 1_000_000_000
NOON = 1_795_262_400 * S


class Hands:
    """A wall clock that people set, and a monotonic one that they cannot."""

    def __init__(self) -> None:
        self.wall = NOON
        self.monotonic = 5 * S

    def pass_(self, time: int) -> None:
        self.wall += time
        self.monotonic += time


def clock() -> tuple[Hands, Clock]:
    hands = Hands()
    return hands, Clock(lambda: hands.wall, lambda: hands.monotonic)


def test_the_clock_is_the_wall_clock() -> None:
    hands, now = clock()
    hands.pass_(3600 * S)

    assert now() == hands.wall == NOON + 3600 * S


def test_a_wall_clock_that_is_set_back_is_not_followed_back() -> None:
    hands, now = clock()
    before = now()
    hands.wall -= 3600 * S
    hands.pass_(2 * S)

    assert now() >= before + S


def test_a_wall_clock_that_was_set_back_is_approached_slowly() -> None:
    hands, now = clock()
    hands.wall -= S
    ahead: list[int] = []

    for _ in range(3000):
        hands.pass_(S)
        ahead.append(now() - hands.wall)

    assert ahead[0] > 0.99 * S
    assert ahead == sorted(ahead, reverse=True)
    assert ahead[-1] == 0


def test_a_wall_clock_that_jumps_ahead_is_followed() -> None:
    """A computer that slept: the monotonic clock stood still."""
    hands, now = clock()
    hands.wall += 8 * 3600 * S
    hands.pass_(2 * S)

    assert now() == hands.wall


@given(st.lists(st.tuples(st.integers(0, 100 * S), st.integers(-(10**6) * S, 10**6 * S)), max_size=50))
def test_time_never_goes_backwards(history: list[tuple[int, int]]) -> None:
    hands, now = clock()
    last = now()

    for passed, adjusted in history:
        hands.pass_(passed)
        hands.wall += adjusted
        assert now() >= last
        last = now()
