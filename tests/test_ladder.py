"""Books, prices and dashboards as text, and what managers, subscriptions and recordings say of themselves."""

import io
import sys
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.live import address
from support.waiting import wait_until

import pmlive as pm
from pmlive.levels import Levels, ladder_lines, price_decimals, sparkline
from pmlive.manager import Manager
from pmlive.manager.subscriptions import Subscription
from pmlive.sim import SimulatedVenue

RAIN = "will-it-rain-in-london-on-new-years-eve"
BOOK = Levels(bids=[(0.4, 30.0), (0.38, 7.5)], asks=[(0.42, 60.0)])

sides = st.lists(st.tuples(st.integers(1, 999), st.floats(0.01, 1e7)), max_size=15, unique_by=lambda level: level[0])


@given(bids=sides, asks=sides, unicode=st.booleans())
def test_every_ladder_has_its_columns_under_each_other_and_fits_a_terminal(
    *, bids: list[tuple[int, float]], asks: list[tuple[int, float]], unicode: bool
) -> None:
    levels = Levels(
        bids=sorted(((price / 1000, size) for price, size in bids), reverse=True),
        asks=sorted((price / 1000, size) for price, size in asks),
    )

    head, *lines = ladder_lines(levels, unicode=unicode)

    assert len(lines) == min(10, max(len(bids), len(asks)))
    assert all(len(line) < 80 for line in (head, *lines))
    for side, column in ((levels.bids, head.index("bid") + 3), (levels.asks, head.index("ask") + 3)):
        for (price, _), line in zip(side[:10], lines, strict=False):
            assert float(line[:column].split()[-1]) == price
    # As many decimals everywhere.
    decimals = price_decimals([price for price, _ in (*levels.bids[:10], *levels.asks[:10])])
    for name in ("bid", "ask"):
        cells = [line[: head.index(name) + 3][-2 - decimals :].strip() for line in lines]
        assert {len(cell) for cell in cells if cell} <= {2 + decimals}


def test_bars_are_as_long_as_their_sizes_and_never_nothing() -> None:
    levels = Levels(bids=[(0.5, 100.0), (0.4, 50.0), (0.3, 0.01)], asks=[(0.6, 25.0)])

    _, *lines = ladder_lines(levels, unicode=True)

    assert [line[:16].strip() for line in lines] == ["█" * 16, "█" * 8, "▐"]
    assert lines[0].endswith("  " + "█" * 4)


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "█"), ("ascii", "#"), ("latin-1", "#")])
def test_a_terminal_without_blocks_is_shown_bars_all_the_same(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))

    text = "\n".join(ladder_lines(BOOK))

    assert shown in text
    text.encode(encoding)


@given(st.lists(st.none() | st.floats(0.001, 0.999), max_size=200), st.integers(1, 100))
def test_a_line_of_prices_is_no_wider_than_it_may_be_and_shows_what_is_unknown(
    values: list[float | None], width: int
) -> None:
    line = sparkline(values, width=width, unicode=True)

    assert len(line) == min(width, len(values))
    if len(values) <= width:
        assert [character == " " for character in line] == [value is None for value in values]
    known = [value for value in values if value is not None]
    if len(values) <= width and known and max(known) > min(known):
        assert line[values.index(max(known))] == "█"
        assert line[values.index(min(known))] == "▁"


def test_prices_of_a_book_are_written_alike_wherever_it_is_shown() -> None:
    assert (BOOK.top, Levels(bids=[], asks=[(0.4, 1.0)]).top) == ("0.40 bid, 0.42 ask", "no bid, 0.40 ask")
    assert "<td>30</td><td>0.40</td><td>0.42</td><td>60</td>" in BOOK.html("a book")


def test_a_recorded_book_prints_as_a_ladder_and_is_one_line_in_others() -> None:
    night = pm.open_recording(pm.sample())
    book = night.book_at(RAIN, night.last_time or 0, "Yes")

    title, note, empty, *rows = str(book).splitlines()
    assert (title, empty) == (book.label, "")
    assert note.startswith("verified at 2026-11-25 22:36:23.854 UTC: the venue's hash fitted at ")
    assert rows == ladder_lines(Levels(bids=book.bids, asks=book.asks))
    assert "0.09 bid, 0.11 ask, verified" in repr(book)
    assert "\n" not in repr(book)


def test_a_stale_book_prints_why_and_the_last_one_that_could_be_trusted() -> None:
    book = pm.open_recording(pm.sample()).book_at(RAIN, "2026-11-25T22:35:30Z", "Yes")

    text = str(book)

    assert "stale at 2026-11-25 22:35:30.000 UTC: not to be trusted since 2026-11-25 22:35:28.828" in text
    assert "the last that could be trusted, at 2026-11-25 22:35:28.8" in text
    assert text.count("bid   ask") == 1


def test_ipython_shows_a_book_as_a_ladder_and_in_a_list_as_one_line() -> None:
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    night = pm.open_recording(pm.sample())
    with night.replay(speed="max") as replay:
        for book in (replay.book(RAIN, "Yes"), night.book_at(RAIN, night.last_time or 0, "Yes")):
            assert pretty(book) == str(book)
            assert pretty([book]) == f"[{book!r}]"


def test_a_manager_says_what_it_watches_since_when_and_how_far_it_is_trusted() -> None:
    with SimulatedVenue(markets=2, rate=50.0) as sim, Manager(address(sim)) as manager:
        assert repr(manager).endswith(", nothing watched>")

        subscription = manager.watch(sim.markets[0].slug)
        wait_until(lambda: " 2 tokens, 2 trusted, 0 gaps open, since " in repr(manager), what="two books")
        since = f"{subscription.created_at:%H:%M:%S} UTC"
        assert repr(manager).endswith(f", since {since}>")

        sim.fault("refuse", channel="market")
        sim.fault("drop", channel="market")
        wait_until(lambda: "0 trusted, 2 gaps open" in repr(manager), what="that the books are not trusted")
    assert repr(manager).endswith(", closed>")


@pytest.mark.parametrize(
    ("subscription", "said"),
    [
        (partial(Subscription, "watch", "market", ["1", "2"]), "prices, books, trades and resolutions of 2 outcomes"),
        (partial(Subscription, "orderbook_updates", "market", ["1"]), "books of 1 outcome,"),
        (partial(Subscription, "user_trades", "user", []), "own trades of all markets"),
        (partial(Subscription, "user_orders", "user", ["0xc0"]), "own orders of 1 market,"),
        (partial(Subscription, "activity", "realtime", ["activity|fed"]), "trades with wallets of 1 event,"),
        (partial(Subscription, "reference_prices", "prices", ["a", "b"]), "prices from outside of 2 symbols"),
    ],
)
def test_a_subscription_says_in_words_what_it_is(subscription: partial[Subscription], said: str) -> None:
    made = subscription()

    assert f"<Subscription to {said}" in repr(made)
    assert f", 0 events since {made.created_at:%H:%M:%S} UTC>" in repr(made)


def test_a_dashboard_in_a_terminal_is_a_line_of_prices_and_a_ladder() -> None:
    pytest.importorskip("ipywidgets")
    with pm.open_recording(pm.sample()).replay(speed="max") as replay:
        wait_until(lambda: replay.finished)
        dashboard = replay.dashboard((RAIN, "Yes"))
        name, mid, line, _, *book = str(dashboard).splitlines()

        assert name == repr(dashboard)
        assert mid.startswith("mid from 22:34:5")
        # The gap in the middle of the sample is left open.
        assert len(line) == 60
        assert " " in line.strip()
        assert book == str(replay.book(RAIN, "Yes")).splitlines()
    assert str(dashboard) == repr(dashboard)
