"""Means over time and what gaps leave of them, compared with sums over every millisecond."""

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from analysing import START, gaps, mids, ms, quotes, times, trades
from hypothesis import given
from hypothesis import strategies as st

import pmlive as pm
from pmlive.analysis import (
    EventWindow,
    align,
    amihud,
    covered,
    kyle_windows,
    ladder_measures,
    order_flow_events,
    order_flow_imbalance,
    quote_bars,
    roll_spread,
    roll_windows,
    sample_mids,
    time_weighted_mean,
    trade_bars,
    trade_flow,
    variance_windows,
    vpin,
    with_mids,
    with_resolutions,
)
from pmlive.tables import SCHEMAS

_edges = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).map(tuple)
_points = st.dictionaries(st.integers(0, 60), st.one_of(st.none(), st.integers(1, 99)), min_size=1, max_size=12)


def sampled(points: dict[int, int | None], until: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Give the value of each millisecond, and whether a row stood."""
    values, stood = np.full(until, np.nan), np.zeros(until, dtype=np.bool_)
    for at in sorted(points):
        value = points[at]
        values[at:], stood[at:] = np.nan if value is None else value / 100, True
    return values, stood


@given(_points, st.lists(_edges, max_size=5), st.sampled_from([7, 10, 25]))
def test_means_are_those_of_every_millisecond_outside_of_gaps(
    points: dict[int, int | None], known: list[tuple[int, int]], every: int
) -> None:
    last = max(points)
    frame = pl.DataFrame(
        {
            "ts_recv": times(sorted(points)),
            "mid": pl.Series(
                [None if points[at] is None else (points[at] or 0) / 100 for at in sorted(points)], dtype=pl.Float64
            ),
        }
    ).with_columns(token_id=pl.lit("yes"))
    values, stood = sampled(points, last)
    free = stood & ~np.array([any(a <= at < b for a, b in known) for at in range(last)], dtype=np.bool_)

    found = time_weighted_mean(frame, f"{every}ms", values=["mid"], gaps=gaps(known))

    for row, start in zip(found.iter_rows(named=True), ms(found["start"]), strict=True):
        assert start is not None
        inside = slice(max(start, 0), min(start + every, last))
        one, counts = values[inside], free[inside]
        weighed = one[counts & ~np.isnan(one)]
        assert row["covered"] == pytest.approx(counts.sum() / every)
        assert row["known_mid"] == pytest.approx(len(weighed) / every)
        assert row["mid"] == (pytest.approx(weighed.mean()) if len(weighed) else None)


def test_an_hour_with_a_short_gap_is_measured_over_the_rest_of_it() -> None:
    rows = quotes([(0, 0.40, 1, 0.42, 1), (1_800_000, 0.50, 1, 0.54, 1), (3_600_000, 0.1, 1, 0.2, 1)])
    gap = gaps([(1_795_500, 1_804_500)])

    hour = time_weighted_mean(rows, "1h", gaps=gap).row(0, named=True)

    assert hour["covered"] == pytest.approx(1 - 9 / 3600)
    assert hour["mid"] == pytest.approx((0.41 * 1795.5 + 0.52 * 1795.5) / 3591)
    assert hour["spread"] == pytest.approx((0.02 + 0.04) / 2)
    assert hour["touched"] is True


def test_flagged_and_dropped_means_are_of_whole_windows_only() -> None:
    rows = quotes([(0, 0.40, 1, 0.42, 1), (500, 0.40, 1, None, None), (3000, 0.5, 1, 0.6, 1)])
    gap = gaps([(1200, 1300)])

    flagged = time_weighted_mean(rows, "1s", gaps=gap, touched="flag")
    dropped = time_weighted_mean(rows, "1s", gaps=gap, touched="drop")

    assert flagged.columns == ["token_id", "start", "end", "mid", "spread", "known_mid", "known_spread", "touched"]
    assert flagged["mid"].to_list() == [pytest.approx(0.41), None, None, None]
    assert flagged["known_mid"].to_list() == [0.5, None, 0.0, 0.0]
    assert ms(dropped["start"]) == [0, 2000, 3000]


def test_every_token_has_its_own_gaps_and_values() -> None:
    rows = pl.concat(
        [mids([(0, 0.2), (2000, 0.2)], token_id="a", conn=3), mids([(1000, 0.6), (2000, 0.6)], token_id="b", conn=4)]
    )
    gap = gaps([(1500, 1750)], token_id=None, conn=4)

    found = time_weighted_mean(rows, "1s", values=["mid"], gaps=gap).filter(pl.col("start") < times([2000])[0])

    assert found.select("token_id", "covered", "touched").rows() == [
        ("a", 1.0, False),
        ("a", 1.0, False),
        ("b", 0.75, True),
    ]
    assert found["mid"].to_list() == pytest.approx([0.2, 0.2, 0.6])


def test_gaps_that_overlap_count_once_and_one_without_length_takes_no_time() -> None:
    rows = mids([(0, 0.5), (1000, 0.5)])

    found = time_weighted_mean(rows, "1s", values=["mid"], gaps=gaps([(100, 400), (200, 300), (350, 500), (700, 700)]))

    assert found["covered"][0] == pytest.approx(0.6)


def test_an_open_gap_lasts_to_the_end() -> None:
    rows = mids([(0, 0.5), (3000, 0.7)])

    found = time_weighted_mean(rows, "1s", values=["mid"], gaps=gaps([(500, None)]))

    assert found["covered"].to_list() == [0.5, 0.0, 0.0, 0.0]
    assert found["mid"].to_list() == [pytest.approx(0.5), None, None, None]


def test_a_whole_time_is_one_window_and_one_row_stands_for_an_instant() -> None:
    both = pl.concat([mids([(0, 0.2), (750, 0.6), (1000, 0.9)], token_id="a"), mids([(1000, 0.4)], token_id="b")])

    found = time_weighted_mean(both, values=["mid"], gaps=SCHEMAS["gaps"].to_frame())

    assert found["mid"].to_list() == pytest.approx([0.3, 0.4])
    assert found["covered"].to_list() == [1.0, 1.0]


def test_without_gaps_nobody_knows_what_was_covered() -> None:
    found = time_weighted_mean(mids([(0, 0.2), (1000, 0.6)]), "1s", values=["mid"])

    assert found.select("touched", "covered", "known_mid").row(0) == (None, None, 1.0)


def test_depth_within_cents_is_averaged_like_any_column() -> None:
    ladders = pl.DataFrame(
        {
            "token_id": ["yes"] * 3,
            "ts_recv": times([0, 250, 1000]),
            "bid_prices": [[0.40], [0.40, 0.39], []],
            "bid_sizes": [[10.0], [10.0, 30.0], []],
            "ask_prices": [[0.42], [0.42], [0.42]],
            "ask_sizes": [[5.0], [5.0], [5.0]],
        },
        schema_overrides={name: pl.List(pl.Float64) for name in ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")},
    )

    measured = ladder_measures(ladders, cents=2)
    found = time_weighted_mean(measured, "1s", values=["depth_bid", "depth_ask"], gaps=gaps([(500, 750)]))

    assert found.row(0, named=True)["depth_bid"] == pytest.approx((250 * 10 + 500 * 40) / 750)
    assert found.row(0, named=True)["depth_ask"] == pytest.approx(5.0)
    assert found["depth_bid"].to_list()[1] is None


def test_an_empty_frame_has_no_means_and_a_missing_column_is_named() -> None:
    assert time_weighted_mean(SCHEMAS["prices"].to_frame(), "1h", gaps=SCHEMAS["gaps"].to_frame()).height == 0
    assert time_weighted_mean(SCHEMAS["prices"].to_frame()).height == 0
    with pytest.raises(ValueError, match=r"no columns \['depth'\]"):
        time_weighted_mean(mids([(0, 0.5)]), values=["depth"])
    with pytest.raises(ValueError, match="length of time"):
        time_weighted_mean(mids([(0, 0.5)]), timedelta(0))
    with pytest.raises(ValueError, match="invalid touched 'keep'"):
        time_weighted_mean(mids([(0, 0.5)]), touched="keep")  # pyright: ignore[reportArgumentType]  # what is tested


@given(st.lists(_edges, max_size=6), st.lists(_edges, min_size=1, max_size=6))
def test_what_is_covered_equals_counting(known: list[tuple[int, int]], spans: list[tuple[int, int]]) -> None:
    frame = pl.DataFrame(
        {"start": times([start for start, _ in spans]), "end": times([end for _, end in spans])}
    ).with_columns(token_id=pl.lit("yes"))

    found = covered(frame, gaps(known)).to_list()

    for share, (start, end) in zip(found, spans, strict=True):
        free = [not any(a <= at < b for a, b in known) for at in range(start, end)]
        instant = float(not any(a < start < b for a, b in known))
        assert share == (pytest.approx(sum(free) / len(free)) if free else instant)


def test_bars_of_quotes_without_the_time_of_a_gap() -> None:
    rows = quotes([(0, 0.40, 1, 0.42, 1), (200, 0.40, 1, 0.46, 1), (900, 0.50, 1, 0.52, 1), (2000, 0.4, 1, 0.5, 1)])

    bars = quote_bars(rows, "1s", gaps=gaps([(400, 1000)]), touched="exclude")

    first, second, last = bars.iter_rows(named=True)
    assert first["mid"] == pytest.approx(0.43)
    assert first["spread"] == pytest.approx((0.02 + 0.06) / 2)
    assert (first["quoted"], first["covered"], first["quotes"], first["touched"]) == (0.4, 0.4, 2, True)
    assert (second["mid"], second["covered"], second["touched"]) == (pytest.approx(0.51), 1.0, False)
    # Nothing but an instant of it is known.
    assert (last["mid"], last["covered"]) == (None, 0.0)


@given(_points, st.lists(_edges, max_size=4))
def test_bars_of_quotes_are_time_weighted_means(points: dict[int, int | None], known: list[tuple[int, int]]) -> None:
    rows = quotes(
        [
            (at, None if wide is None else 0.001, 1.0, None if wide is None else 0.001 + wide / 200, 1.0)
            for at, wide in sorted(points.items())
        ]
    )

    bars = quote_bars(rows, "10ms", gaps=gaps(known), touched="exclude")
    means = time_weighted_mean(rows, "10ms", values=["spread"], gaps=gaps(known))

    assert bars["covered"].to_list() == means["covered"].to_list()
    assert bars["quoted"].fill_null(0.0).to_list() == pytest.approx(means["known_spread"].to_list())
    for one, other in zip(bars["spread"], means["spread"], strict=True):
        assert one == (None if other is None else pytest.approx(other))


def tape() -> pl.DataFrame:
    rows = [(0, 0.5, 10.0, "buy"), (1100, 0.6, 4.0, "sell"), (1500, 0.9, 100.0, "buy"), (1900, 0.7, 6.0, "buy")]
    return trades([*rows, (4200, 0.4, 3.0, "sell")])


GAP = gaps([(1200, 1700), (3000, 4000)])


def test_bars_of_trades_have_those_received_outside_of_gaps() -> None:
    bars = trade_bars(tape(), "1s", gaps=GAP, touched="exclude")

    assert bars["covered"].to_list() == [1.0, 0.5, 1.0, 0.0, 1.0]
    assert bars["volume"].to_list() == [10.0, 10.0, 0.0, None, 3.0]
    assert bars["trades"].to_list() == [1, 2, 0, None, 1]
    assert bars.select("open", "high", "low", "close").row(1) == (0.6, 0.7, 0.6, 0.7)
    assert bars["touched"].to_list() == [False, True, False, True, False]


def test_flow_has_the_trades_received_outside_of_gaps() -> None:
    flow = trade_flow(tape(), "1s", sign_source="feed", gaps=GAP, touched="exclude")

    assert flow["signed_volume"].to_list() == [10.0, 2.0, 0.0, None, -3.0]
    assert flow["covered"].to_list() == [1.0, 0.5, 1.0, 0.0, 1.0]


def test_volume_buckets_are_filled_by_the_trades_received_outside_of_gaps() -> None:
    buckets = vpin(tape(), bucket=10, window=1, sign_source="feed", gaps=GAP, touched="exclude")

    assert buckets["buy_volume"].to_list() == pytest.approx([10.0, 6.0])
    assert buckets["vpin"].to_list() == pytest.approx([1.0, 0.2])
    assert buckets["covered"].to_list() == pytest.approx([1.0, 1 - 500 / 800])


def test_no_change_of_price_is_one_over_a_gap() -> None:
    prices = [0.50, 0.52, 0.50, 0.53, 0.9, 0.88, 0.9, 0.87]
    rows = trades([(100 * at, price, 1.0, "buy") for at, price in enumerate(prices)])

    whole = roll_windows(rows, gaps=gaps([(310, 390)]), touched="exclude")

    steps = np.diff(prices)
    now, before = np.array([[steps[at], steps[at - 1]] for at in (1, 2, 5, 6)]).T
    covariance = float(np.sum((now - now.mean()) * (before - before.mean()))) / 3
    assert whole["roll"].item() == pytest.approx(2 * (-covariance) ** 0.5)
    assert whole["trades"].item() == 8
    assert roll_windows(rows, touched="exclude")["roll"].item() == pytest.approx(roll_spread(rows["price"]))


def test_order_flow_is_summed_over_the_changes_that_no_gap_touches() -> None:
    rows = quotes([(0, 0.4, 10, 0.5, 10), (500, 0.4, 15, 0.5, 10), (700, 0.4, 40, 0.5, 10), (900, 0.4, 42, 0.5, 10)])
    gap = gaps([(550, 650)])

    found = order_flow_imbalance(rows, "1s", gaps=gap, touched="exclude").row(0, named=True)

    assert (found["ofi"], found["changes"], found["covered"]) == (7.0, 2, pytest.approx(0.9))
    assert order_flow_events(rows, gaps=gap)["ofi"].to_list() == [5.0, None, 2.0]


def test_variance_is_summed_over_the_changes_that_no_gap_touches() -> None:
    rows = mids([(0, 0.50), (1000, 0.52), (2000, 0.60), (3000, 0.61), (4000, 0.61)])

    found = variance_windows(rows, "4s", gaps=gaps([(1200, 1400)]), touched="exclude").row(0, named=True)

    assert found["rv"] == pytest.approx(0.02**2 + 0.01**2)
    assert (found["changes"], found["covered"]) == (2, pytest.approx(0.95))


def test_impact_is_measured_by_the_trades_received_outside_of_gaps() -> None:
    quoted = mids([(0, 0.50), (150, 0.51), (250, 0.53), (350, 0.52), (450, 0.56), (550, 0.57), (999, 0.57)])
    rows = trades([(100 * at + 100, 0.5, 10.0 + at, "buy" if at % 3 else "sell") for at in range(6)])
    gap = gaps([(360, 370)])
    told = with_mids(rows, quoted, gaps=gap)

    slopes = kyle_windows(told, "1s", sign_source="feed", gaps=gap, touched="exclude").row(0, named=True)
    found = amihud(told, "1s", gaps=gap, touched="exclude").row(0, named=True)

    # The quote of each trade by hand; the gap lies between the third and the fourth, and the last has no next one.
    sizes, mid = np.arange(10.0, 16.0), np.array([0.50, 0.51, 0.53, 0.52, 0.56, 0.57])
    used = np.array([0, 1, 3, 4])
    moved = mid[used + 1] - mid[used]
    x = sizes[used] * np.where(used % 3, 1, -1)
    assert slopes["n"] == found["trades"] == 4
    assert slopes["slope"] == pytest.approx(np.cov(x, moved)[0, 1] / np.var(x, ddof=1))
    assert found["amihud"] == pytest.approx(np.mean(np.abs(moved) / (0.5 * sizes[used])))
    assert slopes["covered"] == found["covered"] == pytest.approx(0.99)


def test_an_event_has_values_at_the_instants_outside_of_gaps() -> None:
    rows = mids([(0, 0.5), (1000, 0.6), (2000, 0.7), (5000, 0.8)])
    event = pl.DataFrame({"token_id": ["yes"], "ts_recv": times([2000])})
    window = EventWindow(before="2s", after="2s")

    found = align(rows, event, ["mid"], window=window, gaps=gaps([(500, 1500)]), touched="exclude")

    assert found["mid"].to_list() == [pytest.approx(0.5), None, *[pytest.approx(0.7)] * 3]
    assert found["updates"].to_list() == [None, None, None, 0, 0]
    assert found["covered"].unique().to_list() == [0.75]
    assert found["touched"].all()


def test_a_sampled_mid_is_covered_or_not() -> None:
    found = sample_mids(mids([(0, 0.5), (3000, 0.6)]), gaps=gaps([(500, 1500)]), touched="exclude")

    assert found.select("mid", "covered").rows() == [
        (pytest.approx(0.5), 1.0),
        (None, 0.0),
        (pytest.approx(0.5), 1.0),
        (pytest.approx(0.6), 1.0),
    ]


def test_after_a_resolution_nothing_stands_any_more() -> None:
    rows = pl.concat([mids([(0, 0.5), (500, 0.9)], token_id="yes"), mids([(0, 0.2), (4000, 0.2)], token_id="other")])
    known = gaps([(800, 1500)])
    outcomes = pl.DataFrame({"token_id": ["yes", "no", "other"], "resolved_at": times([1500, 1500, None])})

    carried = time_weighted_mean(rows, "1s", values=["mid"], gaps=known).filter(pl.col("token_id") == "yes")
    whole = with_resolutions(known, outcomes)
    ended = time_weighted_mean(rows, "1s", values=["mid"], gaps=whole)

    assert carried["covered"].to_list() == [0.8, 0.5, 1.0, 1.0, 0.0]
    assert ended.filter(pl.col("token_id") == "yes")["covered"].to_list() == [0.8, 0.0, 0.0, 0.0, 0.0]
    assert ended.filter(pl.col("token_id") == "other")["covered"].to_list() == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert whole.select("token_id", "cause").rows() == [("yes", "disconnect"), ("yes", "resolved"), ("no", "resolved")]


def test_resolutions_are_added_to_the_gaps_of_a_recording() -> None:
    night = pm.open_recording(pm.sample("updown"))

    whole = with_resolutions(night.gaps, night.outcomes())
    bars = trade_bars(night.scan("trades").collect(), "5m", gaps=whole, touched="exclude")

    over = bars.join(night.outcomes(), on="token_id").filter(pl.col("start") >= pl.col("resolved_at"))
    assert over.height > 100
    assert over["volume"].null_count() == over.height
    assert whole.height == night.gaps.height + night.outcomes()["resolved"].sum()


def test_times_of_other_units_have_the_same_means() -> None:
    rows = mids([(0, 0.5), (400, 0.6), (1000, 0.6)])
    coarse = rows.with_columns(pl.col("ts_recv").cast(pl.Datetime("ms", "UTC")))

    assert time_weighted_mean(coarse, "1s", gaps=GAP).equals(time_weighted_mean(rows, "1s", gaps=GAP))
    assert START % 1_000_000 == 0
