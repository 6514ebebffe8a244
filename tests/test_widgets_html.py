"""Tables as HTML and charts as pictures, also of titles that were written to harm."""

import struct
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any, cast

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from support.status import subscription

from pmlive.manager import BookView
from pmlive.manager.source import ConnectionStatus
from pmlive.widgets.figures import draw_depth, draw_heat, draw_price, new_figure, png
from pmlive.widgets.tables import ladder_html, recording_html, status_html, tape_html
from pmlive.widgets.views import DepthView, HeatView, PriceView, RecordingView, StatusView, depth_view

HOSTILE = "<img src=x onerror=alert(1)>\"'><script>x</script> $\\frac{1}{0}$ \N{PILE OF POO} \N{HIRAGANA LETTER A}"
_TAGS = {"div", "span", "table", "colgroup", "col", "tr", "th", "td"}


class Reader(HTMLParser):
    """Reads a page as a browser does, and keeps its tags, the names of their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def book() -> BookView:
    now = datetime.now(UTC)
    levels = {"bids": [(0.4, 10.0)], "asks": [(0.6, 1.0), (0.7, 2.0)]}
    return BookView(token_id="1", market="", label=HOSTILE, state="verified", ts_event=now, ts_recv=now, **levels)


def status(**changes: object) -> StatusView:
    view: StatusView = {
        "now": "2026-11-25 12:00:00",
        "playing": HOSTILE,
        "connections": {HOSTILE: ConnectionStatus(connected=False, url=HOSTILE, open=0, sockets=1, error=HOSTILE)},
        "subscriptions": [subscription(HOSTILE)],
        "events": 12345,
        "rate": None,
        "lag": 0.0125,
        "tokens": 2,
        "trusted": 1,
        "verified": 3,
        "unverifiable": 4,
        "mismatches": 5,
        "open_gaps": 1,
        "gaps": 2,
        "last_gap": HOSTILE,
    }
    return view | changes  # pyright: ignore[reportReturnType]  # the names are those of the view


RECORDING: RecordingView = {
    "recording": True,
    "folder": HOSTILE,
    "rows": {HOSTILE: 5},
    "frames": 9,
    "bytes": 1_234_567,
    "files": 2,
    "waiting": 12,
    "lag": 0.5,
    "dropped": 4,
    "trouble": HOSTILE,
    "free": 5_000_000_000,
}

PAGES = {
    "ladder": ladder_html(depth_view(book(), label=HOSTILE)),
    "stale ladder": ladder_html(depth_view(None, label=HOSTILE, doubt=HOSTILE)),
    "tape": tape_html(
        {
            "label": HOSTILE,
            "times": ["12:00:00"],
            "labels": [HOSTILE],
            "prices": [0.5],
            "sizes": [3.0],
            "sides": ["sell"],
        }
    ),
    "status": status_html(status()),
    "recording": recording_html(RECORDING),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())
def test_text_of_strangers_is_text_and_no_markup(page: str) -> None:
    read = Reader(page)

    assert read.tags <= _TAGS
    assert read.attributes <= {"style", "colspan"}
    assert HOSTILE in read.text


_TITLES = {"ladder": "Ladder", "stale ladder": "Ladder", "tape": "Trades", "status": "Status", "recording": "Recording"}


@pytest.mark.parametrize("name", _TITLES)
def test_a_table_begins_with_its_title(name: str) -> None:
    assert Reader(PAGES[name]).text.strip().startswith(_TITLES[name])


def test_a_ladder_shows_asks_above_bids_around_the_middle() -> None:
    text = Reader(PAGES["ladder"]).text

    assert text.index("0.7") < text.index("0.6") < text.index("mid 0.50, spread 0.20") < text.index("0.4")


def test_a_ladder_of_an_empty_side_has_no_middle() -> None:
    view = depth_view(BookView(**{**_fields(book()), "bids": []}), label="A")  # pyright: ignore[reportArgumentType]

    assert "one side is empty" in Reader(ladder_html(view)).text


def _fields(given: BookView) -> dict[str, object]:
    return {name: getattr(given, name) for name in given.__struct_fields__}


def test_a_book_that_is_not_to_be_trusted_has_no_levels_but_a_reason() -> None:
    text = Reader(ladder_html(depth_view(None, label="A", doubt="lost since noon"))).text

    assert "lost since noon" in text
    assert "shares" not in text


def test_status_tells_numbers_with_units() -> None:
    text = Reader(PAGES["status"]).text

    for said in ("12,345; ? a second", "0.013 s from", "1 of 2 books trusted", "5 mismatches", "2, 1 open"):
        assert said in text


def test_a_recording_tells_bytes_as_people_read_them() -> None:
    text = Reader(PAGES["recording"]).text

    assert "1.2 MB in 2 files" in text
    assert "12 B, 0.5 s" in text
    assert "5.0 GB free" in text
    assert "4 frames" in text


# --- pictures ---


def price(times: list[float], *, doubt: str = "") -> PriceView:
    some = np.array(times)
    return {
        "label": HOSTILE,
        "doubt": doubt,
        "now": 5000.0,
        "window": 0.0,
        "times": some,
        "bids": some / 10_000,
        "asks": np.full(len(some), np.nan),
        "mids": np.full(len(some), np.nan),
        "trade_times": some,
        "trade_prices": some / 10_000,
        "trade_sizes": some,
        "trade_buys": np.ones(len(some)),
        "gap_starts": np.array([1500.0]),
        "gap_ends": np.array([np.nan]),
        "gap_causes": ["disconnect"],
    }


def heat(slices: int) -> HeatView:
    return {
        "label": HOSTILE,
        "doubt": "",
        "now": 5000.0,
        "window": 0.0,
        "slice": 1000.0,
        "times": np.arange(slices, dtype=np.float64) * 1000,
        "prices": np.full((slices, 20), 0.5),
        "sizes": np.ones((slices, 20)),
        "gap_starts": np.array([]),
        "gap_ends": np.array([]),
        "gap_causes": [],
    }


def size(picture: bytes) -> tuple[int, int]:
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", picture[16:24])


@pytest.mark.parametrize("view", [price([1000.0, 2000.0]), price([]), price([1000.0], doubt=HOSTILE)])
def test_a_price_chart_is_drawn_whatever_its_title_and_however_little_there_is(view: PriceView) -> None:
    figure, (axes,) = new_figure()
    draw_price(axes, view)

    assert size(png(figure)) == (900, 290)
    assert "$\\frac{1}{0}$" in axes.get_title(loc="left")


def test_a_figure_is_a_picture_in_a_notebook_that_has_not_heard_of_pyplot() -> None:
    figure, _ = new_figure()

    shown = DisplayFormatter().format(figure)[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    assert size(cast("dict[str, bytes]", shown)["image/png"]) == (900, 290)


def test_gaps_are_shaded_to_the_end_of_the_chart_while_they_last() -> None:
    _, (axes,) = new_figure()
    draw_price(axes, price([1000.0, 2000.0]))

    (shade,) = next(each for each in axes.collections if each.get_label() == "gaps").get_paths()
    left, right = axes.get_xlim()
    times = np.asarray(shade.vertices)[:, 0]
    assert left < times.min() < times.max()
    assert times.max() == pytest.approx(right)


def gap(ended: float) -> dict[str, object]:
    return {"gap_starts": np.array([1500.0]), "gap_ends": np.array([ended]), "gap_causes": ["disconnect"]}


@pytest.mark.parametrize(
    ("ended", "held"),
    [
        # When it ended the top was as before, so no row tells of it.
        (3000.0, {1000: 0.1, 1500: None, 3000: 0.1, 4000: 0.4, 5000: 0.4}),
        (np.nan, {1000: 0.1, 1500: None, 4000: None, 5000: None}),
    ],
)
def test_no_line_is_drawn_through_a_gap(ended: float, held: dict[int, float | None]) -> None:
    _, (axes,) = new_figure()

    draw_price(axes, price([1000.0, 4000.0]) | gap(ended))  # pyright: ignore[reportArgumentType]  # names of the view

    line = next(line for line in axes.lines if line.get_label() == "bid")
    bids = np.asarray(line.get_ydata(orig=True), dtype=np.float64)
    assert [None if np.isnan(bid) else round(float(bid), 6) for bid in bids] == list(held.values())


def test_a_heat_map_is_blank_in_a_gap() -> None:
    _, (axes,) = new_figure()

    draw_heat(axes, heat(4) | gap(2500.0))  # pyright: ignore[reportArgumentType]  # the names are those of the view

    opacity = np.asarray(cast("Any", axes.images[0].get_array()))[..., 3]
    # A slice is blank if the gap has its beginning.
    assert (opacity == 0).all(axis=0).tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("slices", [0, 1, 4])
def test_a_heat_map_is_drawn_of_as_many_slices_as_there_are(slices: int) -> None:
    figure, (axes,) = new_figure()
    draw_heat(axes, heat(slices))

    assert [image.get_visible() for image in axes.images] == [slices > 0]
    assert size(png(figure)) == (900, 290)


@pytest.mark.parametrize("view", [depth_view(book(), label=HOSTILE), depth_view(None, label="A", doubt="lost")])
def test_depth_is_drawn_or_the_reason_why_not(view: DepthView) -> None:
    figure, (axes,) = new_figure()
    draw_depth(axes, view)

    assert size(png(figure)) == (900, 290)
    assert [text.get_text() for text in axes.texts] == (["lost"] if view["doubt"] else [])
