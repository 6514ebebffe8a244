"""Tables as HTML and charts as pictures, also of titles that were written to harm."""

import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from support.status import subscription
from test_widgets_canvas import sample

from pmlive.analysis.palette import LIGHT
from pmlive.analysis.plots.theme import Width
from pmlive.manager import BookView
from pmlive.manager.ingest import ConnectionStatus
from pmlive.widgets.figures import DepthPlot, HeatPlot, Plot, PricePlot, new_figure, png
from pmlive.widgets.ladder import Grid, ladder_html
from pmlive.widgets.tables import recording_html, status_html, tape_html
from pmlive.widgets.views import (
    DepthView,
    HeatView,
    PriceView,
    RecordingView,
    StatusView,
    TapeView,
    depth_view,
)

HOSTILE = "<img src=x onerror=alert(1)>\"'><script>x</script> $\\frac{1}{0}$ \N{PILE OF POO} \N{HIRAGANA LETTER A}"
_TAGS = {"div", "span", "table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "th", "td"}


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
    bids, asks = [(0.4, 10.0)], [(0.6, 1.0), (0.7, 2.0)]
    return BookView(
        token_id="1", market="", label=HOSTILE, state="verified", ts_event=now, ts_recv=now, bids=bids, asks=asks
    )


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
    "ladder": ladder_html(depth_view(book(), label=HOSTILE), Grid(21)),
    "stale ladder": ladder_html(depth_view(None, label=HOSTILE, doubt=HOSTILE), Grid(21)),
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
    assert read.attributes <= {"style", "colspan", "scope", "data-price"}
    assert HOSTILE in read.text


_TITLES = {"ladder": "Ladder", "stale ladder": "Ladder", "tape": "Trades", "status": "Status", "recording": "Recording"}


@pytest.mark.parametrize("name", _TITLES)
def test_a_table_begins_with_its_title(name: str) -> None:
    assert Reader(PAGES[name]).text.strip().startswith(_TITLES[name])


@pytest.mark.parametrize("name", ["ladder", "tape", "status", "recording"])
def test_a_table_has_a_caption_and_heads_that_say_what_they_head(name: str) -> None:
    page = PAGES[name]

    assert "<caption" in page
    assert page.count("<th ") == page.count("<th scope=") > 0
    assert page.index(_TITLES[name]) > page.index("<caption")


def tape(labels: list[str], *, label: str = "") -> str:
    many = len(labels)
    view: TapeView = {
        "label": label,
        "times": ["12:00:00"] * many,
        "labels": labels,
        "prices": [0.5, 0.415][:many],
        "sizes": [2134.0, 57.254][:many],
        "sides": ["sell", "buy"][:many],
    }
    return tape_html(view)


def test_trades_of_all_name_the_outcome_first_and_those_of_one_token_no_market() -> None:
    page = tape(["Will it rain? - No", "Will it snow? - Yes"])

    assert [Reader(page).text.count(said) for said in ("market", "No: Will it rain?", "Yes: Will it snow?")] == [1] * 3
    one = Reader(tape(["Will it rain? - No"], label="Will it rain? - No")).text
    assert "market" not in one
    assert one.count("Will it rain?") == 1


def test_what_a_taker_did_is_a_sign_and_a_word_and_numbers_are_padded_and_grouped() -> None:
    text = Reader(tape(["A - No", "B - Yes"])).text

    for said in ("▼ sell", "▲ buy", "0.500", "0.415", "2,134", "57.25"):
        assert said in text
    one = Reader(tape(["A - No"] * 2, label="A - No")).text
    assert "1,067.00" in one
    assert "23.76" in one


def test_large_trades_are_told_in_whole_shares_and_dollars_that_fit_their_columns() -> None:
    view: TapeView = {
        "label": "A - No",
        "times": ["12:00:00.000"] * 2,
        "labels": ["A - No"] * 2,
        "prices": [0.406, 0.5],
        "sizes": [1_234_567.89, 99_999.99],
        "sides": ["buy", "sell"],
    }

    text = Reader(tape_html(view)).text

    assert all(said in text for said in ("1,234,568", "501,235", "99,999.99", "50,000.00"))


def test_a_time_has_room_in_a_wide_font_and_every_column_fits_a_narrow_page() -> None:
    # The narrowest page that a dashboard is shown in has so many pixels, a digit 7.6 and a colon or point 4. Without
    # milliseconds the name of the column is the longest.
    room, milliseconds, seconds = 364, 9 * 7.6 + 3 * 4 + 8, 9 * 6.5 + 8
    one, every = tape(["A - No"], label="A - No"), tape(["A - No"])

    for page, time, rest in ((one, milliseconds, 0), (every, seconds, 100), (PAGES["ladder"], 0, 100)):
        widths = [int(width) for width in re.findall(r"<col style='width: (\d+)px'>", page)]
        assert widths[0] >= time
        assert sum(widths) + rest <= room
        assert f"min-width: {sum(widths) + rest}px" in page
        assert "overflow: auto" in page


def test_no_trades_are_no_empty_table() -> None:
    page = tape([])

    assert "no trade has come yet" in page
    assert "<table" not in page


def test_a_book_that_is_not_to_be_trusted_has_no_levels_but_a_reason() -> None:
    text = Reader(ladder_html(depth_view(None, label="A", doubt="lost since noon"), Grid(21))).text

    assert "lost since noon" in text
    assert "shares" not in text


def test_status_tells_numbers_with_units() -> None:
    text = Reader(PAGES["status"]).text

    for said in ("12,345; rate not measured yet", "0.013 s from", "1 of 2 books trusted", "5 mismatches", "2, 1 open"):
        assert said in text


def test_what_is_not_known_yet_is_said_in_words() -> None:
    text = Reader(status_html(status(lag=None, tokens=0, trusted=0, gaps=0))).text

    assert "?" not in text.replace(HOSTILE, "")
    assert "not known before the first price" in text
    assert "none; type live.watch(" in text
    assert "gapsnone" in text


@pytest.mark.parametrize(("opened", "said"), [(1, True), (2, False)])
def test_an_error_is_told_until_all_sockets_are_open(opened: int, *, said: bool) -> None:
    one = ConnectionStatus(connected=True, url="ws://venue", open=opened, sockets=2, error="no close frame received")

    text = Reader(status_html(status(connections={"clob": one}))).text

    assert ("no close frame" in text) is said
    assert f"connected, {opened} of 2 open, ws://venue" in text


def test_subscriptions_of_a_kind_share_a_line() -> None:
    three = [subscription("watch"), subscription("watch"), subscription("orders")]

    text = Reader(status_html(status(subscriptions=three))).text

    assert text.count("watch") == 1
    assert "2 subscriptions, " in text
    assert text.count("orders") == 1


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
    PricePlot(axes).draw(view)

    assert size(png(figure)) == (900, 290)
    assert axes.get_title(loc="left").startswith("Price \N{MIDDLE DOT} <img src=x")


def test_a_figure_is_a_picture_in_a_notebook_that_has_not_heard_of_pyplot() -> None:
    figure, _ = new_figure()

    shown = DisplayFormatter().format(figure)[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    assert size(cast("dict[str, bytes]", shown)["image/png"]) == (900, 290)


def test_gaps_are_shaded_to_the_end_of_the_chart_while_they_last() -> None:
    _, (axes,) = new_figure()
    PricePlot(axes).draw(price([1000.0, 2000.0]))

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

    PricePlot(axes).draw(price([1000.0, 4000.0]) | gap(ended))  # pyright: ignore[reportArgumentType]  # names of the view

    line = next(line for line in axes.lines if line.get_label() == "bid")
    bids = np.asarray(line.get_ydata(orig=True), dtype=np.float64)
    assert [None if np.isnan(bid) else round(float(bid), 6) for bid in bids] == list(held.values())


def test_a_gap_covers_what_the_heat_map_has_there() -> None:
    _, (axes,) = new_figure()

    HeatPlot(axes).draw(heat(4) | gap(2500.0))  # pyright: ignore[reportArgumentType]  # the names are those of the view

    shade = next(each for each in axes.collections if each.get_label() == "gaps")
    assert np.asarray(shade.get_facecolor())[:, 3].tolist() == [1.0]
    assert shade.get_zorder() > axes.images[0].get_zorder()
    opacity = np.asarray(cast("Any", axes.images[0].get_array()))[..., 3]
    assert (opacity > 0).any(axis=0).all()


@pytest.mark.parametrize(("lowest", "share"), [(0.1, None), (0.49, 0.06)])
def test_levels_are_as_high_as_ticks_but_no_blocks_where_there_are_few(lowest: float, share: float | None) -> None:
    view, (_, (axes,)) = heat(1), new_figure()
    view["prices"], view["sizes"] = np.full((1, 20), np.nan), np.full((1, 20), np.nan)
    view["prices"][0, [0, 1, 10, 11]], view["sizes"][0, [0, 1, 10, 11]] = [0.5, lowest, 0.51, 0.53], 1.0

    HeatPlot(axes).draw(view)

    low, high = axes.get_ylim()
    painted = np.asarray(cast("Any", axes.images[0].get_array()))[:, 0, 3] > 0
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], painted, [0]]).astype(int)))[:2])
    bottom, top = axes.images[0].get_extent()[2:]
    assert runs[0] / len(painted) * (top - bottom) == pytest.approx(
        (share or 0.01 / (high - low)) * (high - low), rel=0.2
    )


def test_a_level_is_the_darker_the_larger_it_is_and_in_the_colour_of_its_side() -> None:
    view, (_, (axes,)) = heat(1), new_figure()
    view["prices"], view["sizes"] = np.full((1, 20), np.nan), np.full((1, 20), np.nan)
    view["prices"][0, [0, 1, 10]], view["sizes"][0, [0, 1, 10]] = [0.4, 0.39, 0.5], [100.0, 25.0, 400.0]

    HeatPlot(axes).draw(view)

    column = np.asarray(cast("Any", axes.images[0].get_array()))[:, 0]
    # The axis begins at 0.38, a tick below the lowest level, and has 14 ticks, half of the outer ones beyond it.
    parts = len(column) / 14
    rows = {round(float(0.375 + 0.01 * (row + 0.5) / parts), 2): column[row] for row in np.flatnonzero(column[:, 3])}
    painted = {price: (to_hex(row[:3] / 255), round(row[3] / 255, 2)) for price, row in rows.items()}
    # 0.06 + 0.94 sqrt(size / largest)
    assert painted == {0.39: (LIGHT.bid, 0.29), 0.4: (LIGHT.bid, 0.53), 0.5: (LIGHT.ask, 1.0)}
    assert axes.get_ylim() == pytest.approx((0.38, 0.51))
    assert "400" in [text.get_text() for inset in axes.child_axes for text in inset.texts]


def test_prices_are_shown_as_far_as_they_are_in_the_window() -> None:
    _, (axes,) = new_figure()
    view = price([1000.0, 4000.0, 4800.0])
    view["window"], view["bids"], view["trade_prices"] = 1000.0, np.array([0.9, 0.4, 0.5]), np.array([0.9, 0.45, 0.5])

    PricePlot(axes).draw({**view, **gap(2000.0)})  # pyright: ignore[reportArgumentType]  # the names are those of the view

    # 0.4 still holds when the window begins.
    assert axes.get_ylim() == pytest.approx((0.4 - 0.008, 0.5 + 0.008))


@pytest.mark.parametrize(("kind", "view"), [(PricePlot, price([1000.0, 2000.0])), (HeatPlot, heat(4))])
def test_a_price_that_is_marked_is_a_dashed_line_with_its_number(
    kind: Callable[[Axes], Plot[Any]], view: PriceView | HeatView
) -> None:
    _, (axes,) = new_figure()
    kind(axes).draw({**view, "marked": 0.35})

    assert [text.get_text() for text in axes.texts if text.get_visible()] == ["marked 0.35"]
    assert [line for line in axes.lines if line.get_visible() and np.asarray(line.get_ydata()).tolist() == [0.35, 0.35]]
    _, (plain,) = new_figure()
    kind(plain).draw(view)
    assert [text.get_text() for text in plain.texts if text.get_visible()] == []


def test_charts_below_each_other_have_the_same_times_and_say_what_they_are() -> None:
    with sample(paused=False) as replay:
        figure = replay.dashboard().figure()
        draw_whole(figure)

    upper, lower, _ = figure.axes[:3]
    assert upper.get_xlim() == lower.get_xlim()
    assert upper.get_position().x0 == pytest.approx(lower.get_position().x0)
    assert upper.get_position().x1 == pytest.approx(lower.get_position().x1)
    ticks = [[label.get_text() for label in axes.get_xticklabels()] for axes in (upper, lower)]
    assert ticks[0] == ticks[1] != []
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes[:3]]  # pyright: ignore[reportOptionalMemberAccess]
    assert legends == [["bid", "ask", "mid", "buy", "sell", "gap"], ["bids", "asks", "gap"], ["bids", "asks"]]


def draw_whole(figure: Figure) -> None:
    figure.canvas.draw()  # pyright: ignore[reportUnknownMemberType]  # matplotlib says nothing of its types


@pytest.mark.parametrize("length", [0.5, 2.0, 10.0])
def test_ticks_of_a_short_window_are_whole_or_short_and_within_the_axes(length: float) -> None:
    figure, (axes,) = new_figure()
    view = price([1_764_450_000_000.0, 1_764_450_000_000.0 + 1000 * length])
    view["now"] = view["times"][-1]
    view["bids"], view["trade_prices"] = np.array([0.4, 0.5]), np.array([0.4, 0.5])

    PricePlot(axes).draw(view)
    draw_whole(figure)

    labels = [label for label in axes.get_xticklabels() if label.get_text()]
    assert len(labels) >= 2
    assert all(re.fullmatch(r"\d\d:\d\d(:\d\d(\.\d)?)?", label.get_text()) for label in labels)
    edge = axes.get_window_extent()
    assert all(edge.x0 <= label.get_window_extent().x0 for label in labels)
    assert all(label.get_window_extent().x1 <= edge.x1 for label in labels)


@pytest.mark.parametrize(("width", "inches", "letters"), [("column", 3.4, {7.0, 8.0}), ("page", 7.0, {8.0, 9.0})])
def test_a_figure_for_a_paper_is_as_wide_as_its_column_with_letters_that_are_read(
    tmp_path: Path, width: Width, inches: float, letters: set[float]
) -> None:
    figure, (axes,) = new_figure(width=width)
    PricePlot(axes).draw({**price([1000.0, 2000.0]), "label": "Will it rain? - Yes"})

    figure.savefig(tmp_path / "price.pdf")

    assert figure.get_size_inches()[0] == inches
    shown = [axes.title, axes.xaxis.label, *axes.get_xticklabels(), *axes.get_legend().get_texts()]  # pyright: ignore[reportOptionalMemberAccess]
    assert {text.get_fontsize() for text in shown if text.get_text()} == letters
    pdf = (tmp_path / "price.pdf").read_bytes()
    assert b"/TrueType" in pdf or b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf
    assert b"/Subtype /Image" not in pdf


def test_a_width_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid width 'poster'; expected 'column' or 'page'"):
        new_figure(width="poster")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("slices", [0, 1, 4])
def test_a_heat_map_is_drawn_of_as_many_slices_as_there_are(slices: int) -> None:
    figure, (axes,) = new_figure()
    HeatPlot(axes).draw(heat(slices))

    assert [image.get_visible() for image in axes.images] == [slices > 0]
    assert size(png(figure)) == (900, 290)


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (depth_view(book(), label=HOSTILE), []),
        (depth_view(None, label="A", doubt="lost"), ["lost"]),
        (depth_view(None, label="A"), ["nobody offers a price now"]),
    ],
)
def test_depth_is_drawn_or_the_reason_why_not(view: DepthView, said: list[str]) -> None:
    figure, (axes,) = new_figure()
    DepthPlot(axes).draw(view)

    assert size(png(figure)) == (900, 290)
    assert [text.get_text() for text in axes.texts if text.get_visible()] == said
    assert axes.get_ylim()[0] == 0
