"""The ladder: rows that stand still, on a grid of ticks, whatever the book is."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from pmlive.manager import BookView
from pmlive.widgets.ladder import Grid, ladder_html
from pmlive.widgets.views import DepthView, depth_view

Side = list[tuple[float, float]]


def view(bids: Side, asks: Side, *, label: str = "A") -> DepthView:
    now = datetime.now(UTC)
    book = BookView(
        token_id="1", market="", label=label, state="verified", ts_event=now, ts_recv=now, bids=bids, asks=asks
    )
    return depth_view(book, label=label)


class Rows(HTMLParser):
    """Reads the body of a table: the texts of the cells of each row, and how wide the bars are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.scopes: set[str] = set()
        self.bars: list[int] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._inside = tag == "tbody" or (self._inside and tag != "tfoot")
        self.scopes |= {scope for scope in [given.get("scope")] if scope}
        if self._inside and tag == "tr":
            self.rows.append([])
        elif self._inside and tag in {"td", "th"}:
            self.rows[-1].append("")
        elif self._inside and tag == "div":
            self.bars += [int(width) for width in re.findall(r"width: (\d+)%", given.get("style") or "")]

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data


def prices(page: str) -> list[str]:
    return [row[1] for row in Rows(page).rows if len(row) == 5]


def occupied(page: str) -> list[list[str]]:
    """List side, price, size and total of the rows that have an order, the highest price first."""
    return [[row[0], row[1], row[2], row[4]] for row in Rows(page).rows if len(row) == 5 and row[0]]


def test_prices_that_nobody_offers_are_empty_rows_between_the_others() -> None:
    page = ladder_html(view([(0.18, 1234.5), (0.15, 4000.0)], [(0.2, 57.25), (0.22, 120.0)]), Grid(9))

    assert prices(page) == ["0.23", "0.22", "0.21", "0.20", "0.19", "0.18", "0.17", "0.16", "0.15"]
    assert occupied(page) == [
        ["ask", "0.22", "120", "177"],
        ["ask", "0.20", "57.25", "57"],
        ["bid", "0.18", "1,234.50", "1,234"],
        ["bid", "0.15", "4,000", "5,234"],
    ]
    assert "mid 0.19, spread 0.02" in page
    assert "bids 5,234.50 shares at 2 prices; asks 177.25 shares at 2 prices" in page


def test_a_crossed_book_shows_both_sides_of_a_price_the_ask_first() -> None:
    page = ladder_html(view([(0.44, 10), (0.43, 20)], [(0.43, 5), (0.45, 7)]), Grid(7))

    assert [row[:3] for row in occupied(page)] == [
        ["ask", "0.45", "7"],
        ["bid", "0.44", "10"],
        ["ask", "0.43", "5"],
        ["bid", "0.43", "20"],
    ]


def test_a_bar_has_a_column_of_its_own_and_is_as_long_as_the_level_is_large() -> None:
    page = ladder_html(view([(0.49, 100.0)], [(0.5, 400.0)]), Grid(7))

    read = Rows(page)
    assert [width for width in read.bars if width] == [100, 25]
    assert {row[3] for row in read.rows} == {""}
    assert "gradient" not in page
    assert "bids 100 shares at 1 price; asks 400 shares at 1 price<" in page
    assert read.scopes == {"col", "row"}


@pytest.mark.parametrize("left", [(), [(0.17, 5.0)]], ids=["nothing", "one side"])
def test_a_book_that_empties_leaves_the_rows_where_they_were(left: Side) -> None:
    grid = Grid(21)
    before = prices(ladder_html(view([(0.17, 1.0)], [(0.19, 1.0)]), grid))

    page = ladder_html(view(list(left), []), grid)

    assert prices(page) == before
    assert "so there is no mid" in page


def test_rows_stand_still_until_the_mid_comes_near_an_end() -> None:
    grid = Grid(21)
    before = prices(ladder_html(view([(0.49, 1.0)], [(0.51, 1.0)]), grid))

    for bid in (0.50, 0.53, 0.55, 0.46, 0.43):
        assert prices(ladder_html(view([(bid, 1.0)], [(bid + 0.02, 1.0)]), grid)) == before
    moved = prices(ladder_html(view([(0.60, 1.0)], [(0.62, 1.0)]), grid))

    assert moved != before
    assert moved[len(moved) // 2] == "0.61"


@st.composite
def books(draw: st.DrawFn) -> tuple[float, Side, Side]:
    """Make books of any tick that have two sides, one or none."""
    tick = draw(st.sampled_from([0.1, 0.01, 0.005, 0.0025, 0.001, 0.0001]))
    most = round(1 / tick) - 1
    levels = sorted(draw(st.sets(st.integers(1, most), max_size=8)))
    cut = draw(st.integers(0, len(levels)))
    sizes = draw(st.lists(st.floats(0.01, 1e7), min_size=len(levels), max_size=len(levels)))
    both = [(round(level * tick, 6), size) for level, size in zip(levels, sizes, strict=True)]
    return tick, both[:cut][::-1], both[cut:]


@examples(200)
@given(st.lists(books(), min_size=1, max_size=4), st.integers(7, 30))
def test_whatever_the_book_is_its_best_prices_are_among_even_rows(
    history: list[tuple[float, Side, Side]], rows: int
) -> None:
    grid = Grid(rows)
    for tick, bids, asks in history:
        page = ladder_html(view(bids, asks), grid, stated=tick)

        shown = prices(page)
        assert len(shown) <= rows
        assert len(shown) >= min(rows, round(1 / tick) - 1) - 1 or "without an order" not in page
        assert len(set(shown)) == len(shown)
        assert len({len(price) for price in shown}) == 1
        numbers = [float(price) for price in shown]
        steps = {round((high - low) / tick) for high, low in pairwise(numbers)}
        assert steps == {1} or "prices without an order" in page
        assert all(0 < number < 1 for number in numbers)
        seen = {(side, float(price)) for side, price, _, _ in occupied(page)}
        best = {(side, levels[0][0]) for side, levels in (("bid", bids), ("ask", asks)) if levels}
        assert best <= seen
        assert sum(price in numbers for price, _ in bids + asks) == len(seen)


def test_a_book_that_is_far_apart_has_its_best_prices_above_and_below_what_is_left_out() -> None:
    page = ladder_html(view([(0.05, 10.0)], [(0.95, 20.0)]), Grid(9), stated=0.01)

    assert prices(page) == ["0.97", "0.96", "0.95", "0.94", "0.06", "0.05", "0.04", "0.03"]
    assert "87 prices without an order" in page


@pytest.mark.parametrize(
    ("bids", "asks", "said"),
    [
        ([], [(0.95, 20.0)], "no bids, so there is no mid"),
        ([(0.05, 1.0)], [], "no asks, so there is no mid"),
        ([], [], "no bids and no asks, so there is no mid"),
    ],
)
def test_a_side_that_is_empty_is_said(bids: Side, asks: Side, said: str) -> None:
    assert said in ladder_html(view(bids, asks), Grid(21))


def test_an_empty_book_leaves_the_rows_where_they_were() -> None:
    grid = Grid(11)
    before = prices(ladder_html(view([(0.2, 1.0)], [(0.22, 1.0)]), grid))

    assert prices(ladder_html(view([], [(0.22, 1.0)]), grid)) == before
    assert "nobody offers a price now" in ladder_html(view([], []), Grid(11))


def test_a_tick_of_a_tenth_of_a_cent_is_written_out() -> None:
    page = ladder_html(view([(0.018, 1.0)], [(0.02, 1.0)]), Grid(7))

    assert prices(page) == ["0.022", "0.021", "0.020", "0.019", "0.018", "0.017", "0.016"]


def test_the_price_that_is_marked_stands_out() -> None:
    book = view([(0.49, 1.0)], [(0.5, 1.0)])

    marked = [row for row in ladder_html(book, Grid(7), marked=0.5).split("<tr") if "outline" in row]

    assert len(marked) == 1
    assert "data-price='0.50'" in marked[0]
    assert "outline" not in ladder_html(book, Grid(7))


def test_fewer_rows_than_both_sides_need_are_refused() -> None:
    with pytest.raises(ValueError, match="invalid rows 6; expected at least 7"):
        Grid(6)
