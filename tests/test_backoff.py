"""When to dial again: by an invented clock, and by the answers of the real library."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidProxyStatus, InvalidStatus
from websockets.http11 import Response

from pmlive.errors import FeedError
from pmlive.feed import Backoff, Policy
from pmlive.feed.dialling import fatal_error, is_refusal, retry_after

Draw = Callable[[float, float], float]
URL = "wss://example.org/ws/market"


def longest(_: float, high: float) -> float:
    return high


def shortest(low: float, _: float) -> float:
    return low


def answer(status: int, *headers: tuple[str, str]) -> InvalidStatus:
    return InvalidStatus(Response(status, "", Headers(list(headers)), b""))


REFUSED = ConnectionRefusedError(111, "refused")


def test_the_first_dial_is_at_once() -> None:
    assert Backoff(Policy(), longest).delay(1000.0) == 0


def test_delays_double_up_to_a_cap() -> None:
    backoff = Backoff(Policy(dials=1000), longest)
    delays: list[float] = []

    for _ in range(9):
        backoff.failed(REFUSED, 0)
        delays.append(backoff.delay(0))

    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_jitter_is_full() -> None:
    backoff = Backoff(Policy())
    for _ in range(5):
        backoff.failed(REFUSED, 0)

    delays = [backoff.delay(0) for _ in range(500)]

    assert 0 <= min(delays) < 2
    assert 14 < max(delays) <= 16


def test_a_night_of_failures_is_survived() -> None:
    """Found by reading: after 1025 failures the delay was an int that no float can hold, and the recorder died."""
    backoff = Backoff(Policy(), longest)

    for _ in range(5_000):
        backoff.failed(REFUSED, 0)

    assert backoff.delay(0) == 60


def test_only_a_useful_and_lasting_connection_makes_the_next_delay_short_again() -> None:
    def delay_after(lasted: float, *, useful: bool) -> float:
        backoff = Backoff(Policy(), longest)
        for _ in range(4):
            backoff.failed(REFUSED, 0)
        backoff.ended(lasted, useful=useful)
        return backoff.delay(0)

    assert delay_after(30, useful=True) == 1
    assert delay_after(29.9, useful=True) == 16
    assert delay_after(86_400, useful=False) == 16


steps = st.lists(
    st.tuples(
        st.sampled_from(["refused", "busy", "short", "long", "useless"]),
        st.floats(0, 200),
        st.floats(0, 1),
    ),
    max_size=60,
)


@given(steps, st.integers(1, 8))
def test_whatever_happens_one_connection_is_dialled_six_times_a_minute_at_most(
    history: list[tuple[str, float, float]], dials: int
) -> None:
    chance = iter([at for _, _, at in history] + [0.0])
    backoff = Backoff(Policy(dials=dials), lambda low, high: low + next(chance) * (high - low))
    now, dialled = 0.0, list[float]()

    for kind, lasted, _ in history:
        now += backoff.delay(now)
        backoff.dialled(now)
        dialled.append(now)
        now += lasted if kind in ("long", "useless") else min(lasted, 0.01)
        if kind == "refused":
            backoff.failed(REFUSED, now)
        elif kind == "busy":
            backoff.failed(answer(429, ("Retry-After", str(int(lasted)))), now)
        else:
            backoff.ended(lasted, useful=kind != "useless")

    for first in dialled:
        # A rounding error of the clock's own arithmetic is no seventh dial.
        assert sum(first <= at < first + 60 - 1e-6 for at in dialled) <= dials


def test_a_server_that_says_when_is_not_dialled_before() -> None:
    backoff = Backoff(Policy(), shortest)

    backoff.failed(answer(429, ("Retry-After", "7")), now=100)

    assert backoff.delay(100) == 7
    assert backoff.delay(106) == 1
    assert backoff.delay(200) == 0


def test_a_busy_server_that_does_not_say_when_is_left_alone_for_a_minute() -> None:
    backoff = Backoff(Policy(), shortest)

    backoff.failed(answer(503), now=100)

    assert backoff.delay(100) == 60


def test_retry_after_is_read_as_seconds() -> None:
    assert retry_after(answer(429, ("Retry-After", "7")), 60) == 7
    assert retry_after(answer(503, ("Retry-After", "0")), 60) == 0
    assert retry_after(answer(503, ("retry-after", " 12 ")), 60) == 12


def test_retry_after_is_read_as_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=90), usegmt=True)

    wait = retry_after(answer(429, ("Retry-After", soon)), 60)

    assert wait is not None
    assert 85 < wait <= 90
    assert retry_after(answer(429, ("Retry-After", past)), 60) == 0


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "1.5", "²", "Wed, 21 Oct 2026 07:28:00", "Wed, 99 Oct 99999 07:28:00 GMT"]
)
def test_a_retry_after_that_says_nothing_is_a_minute(text: str) -> None:
    assert retry_after(answer(429, ("Retry-After", text)), 60) == 60


@pytest.mark.parametrize("text", ["86400000", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_server_is_believed_for_more_than_an_hour(text: str) -> None:
    assert retry_after(answer(429, ("Retry-After", text)), 60) == 3600


def test_two_retry_afters_are_no_fault_of_ours() -> None:
    """Found by reading: the library raises when a header that is sent twice is read as one."""
    assert retry_after(answer(429, ("Retry-After", "7"), ("Retry-After", "9")), 60) == 7


@pytest.mark.parametrize("error", [REFUSED, TimeoutError(), EOFError(), answer(500), answer(502), answer(403)])
def test_other_errors_say_nothing_of_when(error: BaseException) -> None:
    assert retry_after(error, 60) is None


@pytest.mark.parametrize("status", [500, 502, 403])
def test_a_server_that_says_when_is_believed_whatever_its_status(status: int) -> None:
    assert retry_after(answer(status, ("Retry-After", "90")), 60) == 90


# What the handshake was answered with, and how long is waited after the first, second and later ones in a row.
SLOW: list[tuple[float, float]] = [(60, 75), (120, 150), (240, 300), (480, 600), (720, 900), (720, 900)]
FAST: list[tuple[float, float]] = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (0, 32)]
ANSWERED: dict[int, list[tuple[float, float]]] = {
    **dict.fromkeys((300, 301, 302, 303, 304, 307, 308, 401, 403, 404, 407, 451), SLOW),
    **dict.fromkeys((200, 204, 400, 408, 409, 410, 418, 425, 426, 500, 501, 502, 504, 520, 521, 522, 525, 530), FAST),
    429: [(60.0, 60.0)] * 6,
    503: [(60.0, 60.0)] * 6,
}


def refusal(status: int, *headers: tuple[str, str], by_proxy: bool = False) -> InvalidStatus | InvalidProxyStatus:
    return InvalidProxyStatus(answer(status, *headers).response) if by_proxy else answer(status, *headers)


def waits(draw: Draw, error: BaseException, times: int) -> list[float]:
    backoff = Backoff(Policy(dials=1000), draw)
    delays: list[float] = []
    for _ in range(times):
        backoff.failed(error, 0, slowly=is_refusal(error))
        delays.append(backoff.delay(0))
    return delays


@pytest.mark.parametrize("by_proxy", [False, True], ids=["venue", "proxy"])
@pytest.mark.parametrize("status", ANSWERED)
def test_each_answer_to_a_handshake_has_its_patience_and_none_ends_a_channel(status: int, by_proxy: bool) -> None:  # noqa: FBT001
    error, expected = refusal(status, by_proxy=by_proxy), ANSWERED[status]

    assert fatal_error(error, URL) is None
    assert list(zip(waits(shortest, error, 6), waits(longest, error, 6), strict=True)) == expected


@pytest.mark.parametrize(("stated", "wait"), [("7", 60), ("600", 600), ("999999", 3600), ("soon", 60), ("-5", 60)])
def test_a_server_that_refuses_and_says_when_is_not_asked_before(stated: str, wait: float) -> None:
    assert waits(shortest, refusal(403, ("Retry-After", stated)), 1) == [wait]


def test_a_connection_after_refusals_makes_the_patience_short_again() -> None:
    backoff = Backoff(Policy(dials=1000), longest)
    for _ in range(5):
        backoff.failed(refusal(403), 0, slowly=True)

    backoff.ended(1, useful=True)
    after_the_end = backoff.delay(5_000)
    backoff.failed(refusal(403), 5_000, slowly=True)

    assert after_the_end == 1
    assert backoff.delay(5_000) == 75


def test_a_certificate_that_cannot_be_trusted_stops_a_channel() -> None:
    untrusted = ssl.SSLCertVerificationError(1, "certificate verify failed")
    untrusted.verify_message = "self-signed certificate"

    error = fatal_error(untrusted, URL)

    assert isinstance(error, FeedError)
    assert "self-signed" in str(error)


@pytest.mark.parametrize(
    "error",
    [
        *[answer(status) for status in (404, 408, 425, 429, 500, 502, 503, 504, 520, 521, 530)],
        REFUSED,
        ConnectionResetError(104, "reset"),
        OSError(-2, "Name or service not known"),
        TimeoutError(),
        EOFError(),
        ssl.SSLError(1, "handshake failure"),
        ConnectionClosedError(None, None),
    ],
)
def test_everything_else_is_dialled_again(error: BaseException) -> None:
    assert fatal_error(error, URL) is None
