"""Lines of several outcomes against pandas, whole and as rows come, what keys mean, and the charts of them."""

# pandas comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false, reportUnknownLambdaType=false
# pyright: reportReturnType=false

from collections.abc import Callable, Sequence

import comm
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.dates import date2num
from support.examples import examples
from support.feed import QUICK
from support.live import address
from support.page import Page
from support.waiting import wait_until
from test_widgets_candles import END, MS, Told, second
from test_widgets_candles import prices as levels
from test_widgets_canvas import followed, sample, watching
from test_widgets_views import gap, rows

import pmlive as pm
from pmlive.analysis.plots.theme import Width
from pmlive.manager import Manager
from pmlive.manager.live import CrossCheckPolicy
from pmlive.sim import SimulatedVenue
from pmlive.widgets import OutcomesChart, image
from pmlive.widgets.charts import BaseOutcomesChart
from pmlive.widgets.figures import new_figure, png
from pmlive.widgets.lines import (
    LINE_ROWS,
    Line,
    Lines,
    LinesView,
    Quoted,
    append_lines,
    endings,
    lines_of,
    lines_view,
    meant,
)
from pmlive.widgets.more_figures import OutcomesPlot, spread
from pmlive.widgets.views import Numbers

KINDS: list[Callable[..., BaseOutcomesChart]] = [OutcomesChart, image.OutcomesChart]
S = 1000 * MS


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    """Open widgets on a page that keeps what it is sent."""
    opened = Page()
    monkeypatch.setattr(comm, "create_comm", opened.create_comm)
    return opened


tales = st.builds(
    Told,
    st.lists(st.tuples(second, st.none() | levels), max_size=25).map(lambda rows: sorted(rows, key=lambda row: row[0])),
    st.just([]),
    st.lists(st.tuples(second, st.none() | st.integers(0, 20)), max_size=4),
    st.lists(second, max_size=5).map(sorted),
)
BOTH = [Line("1", "A"), Line("2", "B", mirrored=True)]


def frames(one: Told, other: Told) -> tuple[pl.DataFrame, pl.DataFrame]:
    mids = [
        {"ts_recv": at * S, "token_id": token, "mid": mid}
        for token, told in (("1", one), ("2", other))
        for at, mid in told.mids
    ]
    lost = [
        gap(start, None if long is None else start + long, token)
        for token, told in (("1", one), ("2", other))
        for start, long in told.gaps
    ]
    return rows("prices", sorted(mids, key=lambda row: int(str(row["ts_recv"])))), rows("gaps", lost)


def stood(told: Told) -> pd.Series:
    """Return what stood in each half second, nothing in a gap."""
    halves = pd.Index(np.arange(0, END + 0.5, 0.5))
    numbers = pd.Series(range(len(told.mids)), index=[float(at) for at, _ in told.mids], dtype=float)
    last = numbers[~numbers.index.duplicated(keep="last")].reindex(halves, method="ffill")
    found = last.map(lambda at: np.nan if pd.isna(at) else told.mids[int(at)][1]).astype(float)
    for start, long in told.gaps:
        found[(halves >= start) & (halves < (np.inf if long is None else start + long))] = np.nan
    return found


def drawn(times: Numbers, values: Numbers) -> pd.Series:
    """Return what a line that is drawn of rows shows in each half second."""
    line = pd.Series(range(len(times)), index=times / 1000, dtype=float)
    last = line[~line.index.duplicated(keep="last")].reindex(np.arange(0, END + 0.5, 0.5), method="ffill")
    return last.map(lambda at: np.nan if pd.isna(at) else values[int(at)]).astype(float)


@examples(40)
@given(tales, tales)
def test_a_line_shows_what_stood_and_nothing_in_a_gap(one: Told, other: Told) -> None:
    prices, gaps = frames(one, other)

    times, values, lines = Lines(BOTH, slot=1).take(prices, gaps, END * S)

    for number, expected in enumerate([stood(one), 1 - stood(other)]):
        its = lines == number
        found = drawn(times[its], values[its])
        np.testing.assert_array_equal(found.to_numpy(), expected.to_numpy())


@examples(40)
@given(tales, tales)
def test_lines_are_the_same_however_rows_come(one: Told, other: Told) -> None:
    prices, gaps = frames(one, other)
    whole = Lines(BOTH, slot=1).take(prices, gaps, END * S)

    lines, parts = Lines(BOTH, slot=1), []
    for begin, end in zip([-1, *one.cuts], [*one.cuts, END], strict=True):
        part = prices.filter(pl.col("ts_recv").dt.epoch("s").is_between(begin, end, closed="right"))
        parts.append(lines.take(part, gaps, end * S))
    joined = [np.concatenate(each) for each in zip(*parts, strict=True)]

    for number in range(2):
        same = [drawn(times[each == number], values[each == number]) for times, values, each in (whole, joined)]
        np.testing.assert_array_equal(same[0].to_numpy(), same[1].to_numpy())


def test_of_many_changes_at_once_the_lowest_the_highest_and_the_last_are_kept() -> None:
    mids = [(0, 0.3), (0, 0.9), (0, 0.5), (0, 0.1), (0, 0.4)]
    told = rows(
        "prices",
        [{"ts_recv": at * S + number * MS, "token_id": "1", "mid": mid} for number, (at, mid) in enumerate(mids)],
    )

    times, values, _ = Lines(BOTH[:1], slot=S).take(told, rows("gaps", []), S)

    assert (times.tolist(), values.tolist()) == ([1.0, 3.0, 4.0], [0.9, 0.1, 0.4])


def test_what_does_not_change_is_not_sent() -> None:
    lines, none = Lines(BOTH[:1]), rows("gaps", [])
    first = rows("prices", [{"ts_recv": at * S, "token_id": "1", "mid": 0.4} for at in range(5)])
    again = rows("prices", [{"ts_recv": 7 * S, "token_id": "1", "mid": 0.4}])

    assert [lines.take(each, none, 8 * S)[0].tolist() for each in (first, again)] == [[0.0], []]
    assert lines.made == 1


def test_a_window_begins_with_what_stood_then() -> None:
    told = rows("prices", [{"ts_recv": at * S, "token_id": "1", "mid": at / 100} for at in (1, 5, 50)])

    times, values, _ = Lines(BOTH[:1], window=20 * S).take(told, rows("gaps", []), 60 * S)

    assert (times.tolist(), values.tolist()) == ([40_000.0, 50_000.0], [0.05, 0.5])


# --- what keys mean ---

RAIN = pm.Market(
    condition_id="0xa",
    slug="rain",
    question="Will it rain?",
    event_slug="rain",
    outcomes=["Yes", "No"],
    token_ids=["1", "2"],
)
CUTS = [
    pm.Market(
        condition_id=f"0x{name}",
        slug=f"cut-{name}",
        question=f"Will the Fed cut by {name} bps in May?",
        event_slug="fed",
        event_title="Fed decision",
        outcomes=["Yes", "No"],
        token_ids=[f"{name}0", f"{name}1"],
    )
    for name in ("25", "50")
]
GOLD = pm.Market(
    condition_id="0xg",
    slug="gold",
    question="Who wins?",
    event_slug="gold",
    outcomes=["A", "B", "C"],
    token_ids=["7", "8", "9"],
)
MARKETS = [RAIN, *CUTS, GOLD]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["rain"], ["1", "2"]),
        (["0xa"], ["1", "2"]),
        (["fed"], ["250", "500"]),
        (["cut-25"], ["250", "251"]),
        (["gold"], ["7", "8", "9"]),
        (["rain", "fed", "rain"], ["1", "2", "250", "500"]),
        ([("rain", "Yes"), "7", "Maybe"], [("rain", "Yes"), ("7", None), ("Maybe", None)]),
    ],
)
def test_a_market_is_all_its_outcomes_and_an_event_the_first_of_each_market(
    keys: Sequence[str | tuple[str, str]], expected: list[object]
) -> None:
    assert meant(keys, MARKETS) == expected


@pytest.mark.parametrize(
    ("tokens", "title", "of", "names"),
    [
        (["250", "500"], "Fed decision", "mid", ["25", "50"]),
        (["250", "501"], "Fed decision", "mid", ["Yes: 25", "No: 50"]),
        (["7", "8", "9"], "Who wins?", "mid", ["A", "B", "C"]),
        (["7", "8"], "Who wins?", "mid", ["A", "B"]),
        (["1"], "Will it rain?", "mid", ["Yes"]),
        (["1", "77"], "2 outcomes", "mid", ["Yes", "token 77…"]),
        (
            ["1", "2"],
            "Will it rain?",
            "mirror",
            ["Yes ask", "Yes bid", "1 \N{MINUS SIGN} No bid", "1 \N{MINUS SIGN} No ask"],
        ),
        (
            ["2", "1"],
            "Will it rain?",
            "mirror",
            ["No ask", "No bid", "1 \N{MINUS SIGN} Yes bid", "1 \N{MINUS SIGN} Yes ask"],
        ),
    ],
)
def test_lines_are_named_as_shortly_as_they_can_be_told_apart(
    tokens: list[str], title: str, of: Quoted, names: list[str]
) -> None:
    found = lines_of(tokens, MARKETS, None)

    assert (found[0], found[1], [line.name for line in found[2]]) == (title, of, names)


def test_a_group_is_the_name_of_a_market_where_there_is_one() -> None:
    grouped = [pm.Market(condition_id=each, group=f"{each} bps", outcomes=["Yes"], token_ids=[each]) for each in "ab"]

    assert [line.name for line in lines_of(["a", "b"], grouped, None)[2]] == ["a bps", "b bps"]


def test_the_mirror_of_no_stands_beside_yes() -> None:
    told = rows(
        "prices",
        [
            {"ts_recv": S, "token_id": "1", "best_bid": 0.40, "best_ask": 0.42},
            {"ts_recv": S, "token_id": "2", "best_bid": 0.57, "best_ask": 0.61},
        ],
    )

    _, values, lines = Lines(lines_of(["1", "2"], MARKETS, None)[2]).take(told, rows("gaps", []), S)

    assert lines.tolist() == [0, 1, 2, 3]
    assert values.round(6).tolist() == [0.42, 0.40, 0.43, 0.39]


def test_mids_of_both_outcomes_are_shown_where_that_is_wanted_and_no_mirror_of_others() -> None:
    assert [line.column for line in lines_of(["1", "2"], MARKETS, "mid")[2]] == ["mid", "mid"]
    with pytest.raises(ValueError, match="two outcomes of one market"):
        lines_of(["250", "500"], MARKETS, "mirror")


# --- views and drawings ---


def view(doubts: dict[str, str]) -> LinesView:
    told = rows(
        "prices", [{"ts_recv": at * S, "token_id": each, "mid": at / 10} for at in (1, 2, 3) for each in ("1", "2")]
    )
    lines = Lines([Line("1", "A"), Line("2", "B")])
    return lines_view(lines, told, rows("gaps", []), label="L", of="mid", doubts=doubts, now_ms=9000.0)


def test_a_line_that_cannot_be_trusted_ends_and_all_of_them_grey_the_chart() -> None:
    one, both = view({"2": "resolved"}), view({"1": "lost", "2": "lost"})

    assert (one["doubt"], one["doubts"], one["holds"].tolist()) == ("", ["", "resolved"], [1, 0])
    assert both["doubt"] == "lost"


def test_lines_end_with_their_names_and_hold_until_now_where_they_can_be_trusted() -> None:
    axes = new_figure()[1][0]
    plot = OutcomesPlot(axes)

    extent = plot.update(view({"2": "resolved"}))

    ends = [np.asarray(line.get_xdata())[-1] for line in axes.lines[:2]]
    assert (ends[0] - ends[1]) * 86_400 == pytest.approx(6, abs=0.01)
    assert [text.get_text() for text in axes.texts if text.get_visible()] == ["A  0.30", "B  not trusted"]
    assert ends[0] == extent.right
    assert all(text.get_position()[0] > 1 for text in axes.texts[:2])
    assert [line.get_visible() for line in axes.lines[:3]] == [True, True, False]


@pytest.mark.parametrize("width", [None, "column", "page"])
def test_the_names_of_many_lines_stand_beside_the_axes_and_inside_the_figure(width: Width | None) -> None:
    figure, (axes,) = new_figure(width=width)
    lines = Lines([Line(str(each), f"Candidate number {each}") for each in range(20)])
    told = [{"ts_recv": S, "token_id": str(each), "mid": 0.5 * 0.7**each} for each in range(20)]
    shown = lines_view(lines, rows("prices", told), rows("gaps", []), label="L", of="mid", doubts={}, now_ms=9000.0)

    OutcomesPlot(axes).draw(shown)

    png(figure)
    names = [text.get_window_extent() for text in axes.texts if text.get_visible()]
    assert len(names) == 20
    assert all(axes.bbox.x1 < box.x0 and box.x1 <= figure.bbox.x1 for box in names)
    assert min(box.y0 for box in names) > axes.bbox.y0 - 3
    heights = sorted((box.y0 + box.y1) / 2 for box in names)
    assert min(np.diff(heights)) > 0.6 * names[0].height
    # What is drawn ends with the present, and no price is below 0.
    assert axes.get_xlim()[1] == date2num(np.datetime64(9000, "ms"))
    assert axes.get_ylim()[0] == 0


def test_a_side_that_is_empty_is_said_to_have_no_price_and_not_to_be_untrusted() -> None:
    axes = new_figure()[1][0]
    told = rows("prices", [{"ts_recv": at * S, "token_id": "1", "mid": mid} for at, mid in ((1, 0.4), (2, None))])
    lines = Lines([Line("1", "A")])

    OutcomesPlot(axes).update(lines_view(lines, told, rows("gaps", []), label="L", of="mid", doubts={}, now_ms=9000.0))

    assert [text.get_text() for text in axes.texts if text.get_visible()] == ["A  none"]


# --- gaps ---


def gapped(gaps: Sequence[dict[str, object]], doubts: dict[str, str] | None = None) -> LinesView:
    """Make a view of three lines, the first two of one token."""
    told = [{"ts_recv": S, "token_id": each, "mid": mid} for each, mid in (("1", 0.2), ("2", 0.6))]
    lines = Lines([Line("1", "A"), Line("1", "B"), Line("2", "C")])
    told_gaps = rows("gaps", gaps)
    return lines_view(lines, rows("prices", told), told_gaps, label="L", of="mid", doubts=doubts or {}, now_ms=9000.0)


def blank_of(view: LinesView, number: int) -> list[tuple[float, float | None]]:
    """Return the seconds of the gaps that one line has and others have not."""
    both = zip(view["blank_starts"].tolist(), view["blank_ends"].tolist(), strict=True)
    found = [pair for pair, line in zip(both, view["blank_lines"].tolist(), strict=True) if line == number]
    return [(start / 1000, None if np.isnan(end) else end / 1000) for start, end in found]


@examples(40)
@given(tales, tales)
def test_a_gap_of_all_lines_is_one_of_the_chart_and_the_rest_is_of_single_lines(one: Told, other: Told) -> None:
    _, gaps = frames(one, other)
    lines = Lines(BOTH)
    shown = lines_view(lines, rows("prices", []), gaps, label="L", of="mid", doubts={}, now_ms=END * 1000.0)

    halves = np.arange(0, END + 0.5, 0.5)

    def inside(spans: Sequence[tuple[float, float | None]]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array([any(a <= at and (b is None or at < b) for a, b in spans) for at in halves])

    lost = [
        inside([(start, None if long is None else start + long) for start, long in each.gaps]) for each in (one, other)
    ]
    pairs = zip(shown["gap_starts"].tolist(), shown["gap_ends"].tolist(), strict=True)
    common = inside([(start / 1000, None if np.isnan(end) else end / 1000) for start, end in pairs])
    np.testing.assert_array_equal(common, lost[0] & lost[1])
    for number in range(2):
        np.testing.assert_array_equal(inside(blank_of(shown, number)), lost[number] & ~common)
    assert shown["gap_causes"] == ["disconnect"] * len(shown["gap_starts"])


def test_a_gap_of_everything_is_one_of_the_chart_and_has_its_cause() -> None:
    shown = gapped([gap(2, 4, None, conn=0, cause="disk"), gap(5, None, "2", cause="mismatch")])

    assert (shown["gap_starts"].tolist(), shown["gap_ends"].tolist(), shown["gap_causes"]) == ([2000], [4000], ["disk"])
    assert [blank_of(shown, number) for number in range(3)] == [[], [], [(5.0, None)]]


def test_a_figure_hatches_gaps_of_all_lines_over_its_height_and_those_of_one_where_it_was() -> None:
    axes = new_figure()[1][0]
    plot = OutcomesPlot(axes)

    extent = plot.update(gapped([gap(2, 4, "1"), gap(3, 5, "2")]))

    of_all, of_some = (each.get_paths() for each in (plot.gaps, plot.blanks))
    assert [path.get_extents().y0 for path in of_all] == [0.0]
    assert [path.get_extents().y1 for path in of_all] == [1.0]
    middles = [(path.get_extents().y0 + path.get_extents().y1) / 2 for path in of_some]
    assert sorted(middles) == pytest.approx([0.2, 0.2, 0.6])
    assert all(path.get_extents().height < (extent.high - extent.low) / 10 for path in of_some)
    spans = [(path.get_extents().x1 - path.get_extents().x0) * 86_400 for path in (*of_all, *of_some)]
    assert spans == pytest.approx([1, 1, 1, 1], abs=0.01)


def test_a_chart_that_is_live_and_its_figure_hatch_the_gap_of_a_lost_connection(page: Page) -> None:
    with watching() as (sim, manager):
        chart = OutcomesChart(manager, sim.markets[0].slug, rate=30)
        page.of(chart).say(kind="here", view="a")
        sim.fault("drop", channel="market")

        wait_until(lambda: len(followed(page, chart).arrays["gap_starts"]) == 1)
        wait_until(lambda: not np.isnan(followed(page, chart).arrays["gap_ends"][0]))
        its = manager.gaps.filter(pl.col("token_id").is_in(chart.token_ids))
        assert said(page, chart)["gap_causes"] == ["disconnect"]
        last = its["started"].dt.epoch("ns").max()
        assert followed(page, chart).arrays["gap_starts"] == [pytest.approx(int(str(last)) / 1e6)]


# --- how markets end ---


def ended(market: str, outcome: str | None = "Yes", token: str | None = "1") -> dict[str, object]:
    return {"kind": "market_resolved", "market": market, "winning_outcome": outcome, "winning_token_id": token}


@pytest.mark.parametrize(
    ("tokens", "told", "title", "states"),
    [
        (["1", "2"], [], "Will it rain?", ["not trusted"] * 4),
        (["1", "2"], [ended("0xa")], "resolved, Yes won: Will it rain?", ["resolved"] * 4),
        (["1", "2"], [ended("0xa", None, None)], "resolved without a winner: Will it rain?", ["resolved"] * 4),
        (["7", "8", "9"], [ended("0xg", "B", "8")], "resolved, B won: Who wins?", ["lost", "won", "lost"]),
        (
            ["250", "500"],
            [ended("0x50", "No", "501")],
            "1 of 2 markets resolved: Fed decision",
            ["not trusted", "lost"],
        ),
        (
            ["250", "500"],
            [ended("0x50", "No", "501"), ended("0x25", "Yes", "250")],
            "resolved, 25 won: Fed decision",
            ["won", "lost"],
        ),
        (
            ["250", "500"],
            [ended("0x50", "No", "501"), ended("0x25", "No", "251")],
            "resolved: Fed decision",
            ["lost", "lost"],
        ),
    ],
)
def test_a_title_says_which_markets_are_resolved_and_who_won(
    tokens: list[str], told: list[dict[str, object]], title: str, states: list[str]
) -> None:
    label, of, lines = lines_of(tokens, MARKETS, None)
    events = endings(rows("market_events", [*told, {"kind": "new_market", "market": "0xb"}]))

    shown = lines_view(
        Lines(lines),
        rows("prices", []),
        rows("gaps", []),
        label=label,
        of=of,
        doubts=dict.fromkeys(tokens, "lost"),
        ended=events,
        now_ms=9000.0,
    )

    assert (shown["label"], shown["states"]) == (title, states)
    over = len({line.market for line in lines}) == len(told) > 1
    assert shown["doubt"] == ("all of its markets were resolved; they have no books any more" if over else "lost")


def test_a_chart_and_its_figure_say_that_the_market_is_resolved(page: Page) -> None:
    with watching() as (sim, manager):
        market = sim.markets[0]
        live, pictured = OutcomesChart(manager, market.slug), image.OutcomesChart(manager, market.slug)
        page.of(live).say(kind="here", view="a")

        sim.resolve(market, winner="Yes")

        wait_until(lambda: said(page, live)["label"] == f"resolved, Yes won: {market.question}")
        wait_until(lambda: pictured.label == f"resolved, Yes won: {market.question}")
        assert all("resolved, Yes won" in chart.figure().axes[0].get_title(loc="left") for chart in (live, pictured))


@given(st.lists(st.none() | st.floats(0, 1), max_size=15))
def test_names_keep_their_order_and_their_distance(wanted: list[float | None]) -> None:
    given = [float("nan") if each is None else each for each in wanted]

    places = spread(given, 0.05, 0.0, 1.0)

    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    assert all(after - before > 0.05 - 1e-9 for before, after in zip(sorted(places), sorted(places)[1:], strict=False))
    order = sorted(range(len(places)), key=lambda at: places[at])
    sorted_as = [-1.0 if np.isnan(given[at]) else given[at] for at in order]
    assert sorted_as == sorted(sorted_as)


# --- the charts ---


@pytest.mark.parametrize("make", KINDS)
def test_what_cannot_be_shown_is_refused(make: Callable[..., BaseOutcomesChart]) -> None:
    with sample() as replay:
        with pytest.raises(pm.UnknownMarketError, match="no subscribed market or token is named 'nonsense'"):
            make(replay, "nonsense")
        with pytest.raises(pm.UnknownMarketError, match="no outcome is named"):
            make(replay, [])
        with pytest.raises(ValueError, match="neither 'mid' nor 'mirror'"):
            make(replay, of="ask")
        with pytest.raises(ValueError, match="two outcomes"):
            make(replay, [(replay.markets[0].slug, "Yes")], of="mirror")


@pytest.mark.quick(1)
@pytest.mark.parametrize("make", KINDS)
def test_outcomes_are_a_figure_while_they_live_and_after(make: Callable[..., BaseOutcomesChart]) -> None:
    with sample() as replay:
        event, rain = make(replay, window=None), make(replay, replay.markets[2].slug, window=None)
        pictures = [png(chart.figure()) for chart in (event, rain)]

    assert repr(event) == f"<OutcomesChart of {event.label}, closed>"
    assert event.token_ids == [market.token_ids[0] for market in replay.markets[:2]]
    assert rain.label == "simulated: Will it rain in London on New Year's Eve?"
    for chart, picture in zip((event, rain), pictures, strict=True):
        assert len(picture) > 8_000
        assert png(chart.figure()) == picture


def said(page: Page, chart: OutcomesChart) -> dict[str, object]:
    return followed(page, chart).values  # noqa: PD011  # it is no frame


def shown(chart: BaseOutcomesChart) -> LinesView:
    """Return what is drawn."""
    return getattr(chart, "_last_view")  # noqa: B009  # nobody else asks for it


def of_line(arrays: dict[str, list[float]], number: int) -> list[float]:
    return [each for each, line in zip(arrays["values"], arrays["lines"], strict=True) if line == number]


def test_a_browser_that_follows_outcomes_has_their_mids(page: Page) -> None:
    with sample() as replay:
        chart = OutcomesChart(replay, window=None)
        there = followed(page, chart)

        assert said(page, chart)["names"] == ["the Fed cut rates by 25 bps", "there be no change in Fed rates"]
        for number, token in enumerate(chart.token_ids):
            mids = replay.prices.filter(pl.col("token_id") == token)["mid"].to_list()
            shown = [each for each in of_line(there.arrays, number) if not np.isnan(each)]
            assert set(shown) <= set(mids)
            assert shown[-1] == mids[-1]
        assert np.isnan(there.arrays["values"]).sum() == 2


def test_outcomes_that_are_lost_are_blank_and_come_back(page: Page) -> None:
    with watching() as (sim, manager):
        chart = OutcomesChart(manager, sim.markets[0].slug, rate=30)
        page.of(chart).say(kind="here", view="a")
        sim.fault("refuse", channel="market", number=503)
        sim.fault("drop", channel="market")

        wait_until(lambda: "disconnect" in str(said(page, chart)["doubt"]))
        wait_until(lambda: all(np.isnan(of_line(followed(page, chart).arrays, each)[-1]) for each in range(4)))
        sim.clear_faults()
        wait_until(lambda: said(page, chart)["doubts"] == [""] * 4)
        wait_until(lambda: not any(np.isnan(of_line(followed(page, chart).arrays, each)[-1]) for each in range(4)))


def test_an_outcome_whose_market_is_over_ends(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmlive.manager.live.CrossCheckPolicy", lambda: CrossCheckPolicy(settled=0.3))
    with SimulatedVenue(markets=2, rate=100) as sim, Manager(address(sim), policy=QUICK) as manager:
        manager.watch([market.slug for market in sim.markets])
        chart = OutcomesChart(manager, [(market.slug, market.outcomes[0]) for market in sim.markets], rate=30)
        page.of(chart).say(kind="here", view="a")
        wait_until(lambda: said(page, chart)["doubts"] == ["", ""])

        sim.resolve(sim.markets[0], winner=sim.markets[0].outcomes[0])

        wait_until(lambda: "resolved" in str(said(page, chart)["doubts"]))
        assert said(page, chart)["doubt"] == ""
        assert followed(page, chart).arrays["holds"] == [0.0, 1.0]


def test_the_event_of_the_first_market_that_is_watched_is_shown(page: Page) -> None:
    with SimulatedVenue(markets=1, rate=100) as sim, Manager(address(sim), policy=QUICK) as manager:
        chart = OutcomesChart(manager, rate=30)
        page.of(chart).say(kind="here", view="a")
        assert str(said(page, chart)["doubt"]).startswith("no market is watched yet; type live.watch(")

        manager.watch(sim.markets[0].slug)

        wait_until(lambda: chart.token_ids == list(sim.markets[0].token_ids))
        wait_until(lambda: followed(page, chart).arrays["values"])


def test_outcomes_send_little(page: Page) -> None:
    with watching(rate=1000) as (_, manager):
        chart = OutcomesChart(manager, rate=5)
        page.of(chart).say(kind="here", view="a")
        wait_until(lambda: len(page.of(chart).messages) > 10)

        sizes = [len(buffer) for message, buffer in page.of(chart).messages if message["kind"] == "append"]

    # Those between, since a machine that is busy sends what came in seconds at once.
    assert sorted(sizes)[len(sizes) // 2] < 2000


def test_a_picture_of_outcomes_continues_the_one_before() -> None:
    with sample(paused=True) as replay:
        chart = image.OutcomesChart(replay, replay.markets[0].slug, window=None)
        replay.resume()
        wait_until(lambda: replay.finished)
        fresh = shown(image.OutcomesChart(replay, replay.markets[0].slug, window=None))
        # Only the render loop draws: two threads would both append what is new.
        wait_until(lambda: shown(chart)["now"] == fresh["now"])
        last = shown(chart)
    # Of a slot that was drawn in parts, each part has its own lowest, highest and last.
    rows = [set(zip(*(each[name].tolist() for name in LINE_ROWS), strict=True)) for each in (last, fresh)]
    assert {row for row in rows[1] if row[1] == row[1]} <= rows[0]  # those that are known
    assert append_lines(last, last, most=3)["values"].tolist()[-1] == last["values"].tolist()[-1]
