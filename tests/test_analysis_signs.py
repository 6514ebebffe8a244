"""Signs of trades by each method, compared with loops over the trades of each token."""

import math
from itertools import pairwise
from statistics import NormalDist, stdev
from typing import cast, get_args

import numpy as np
import polars as pl
import pytest
from analysing import gaps, quotes, trades
from hypothesis import given
from hypothesis import strategies as st

import pmlive as pm
from pmlive.analysis import (
    SignMethod,
    classify_trades,
    kyle_lambda,
    sign_agreement,
    signed,
    trade_costs,
    trade_flow,
    vpin,
)
from pmlive.analysis.signs import normal_cdf, t_cdf
from pmlive.tables import SCHEMAS

METHODS = cast("tuple[SignMethod, ...]", get_args(SignMethod))

_tapes = st.lists(
    st.tuples(st.integers(0, 5_000), st.integers(40, 46), st.integers(1, 50), st.sampled_from(("buy", "sell"))),
    max_size=25,
).map(lambda rows: [(at, tick / 100, float(size), side) for at, tick, size, side in sorted(rows)])
_quotes = st.lists(
    st.tuples(st.integers(0, 5_000), st.one_of(st.none(), st.integers(38, 44)), st.integers(1, 4)), max_size=15
).map(
    lambda rows: [
        (at, None if bid is None else bid / 100, 1.0, None if bid is None else (bid + wide) / 100, 1.0)
        for at, bid, wide in sorted(rows, key=lambda row: row[0])
    ]
)

Rows = list[tuple[int, float, float, str]]
Quotes = list[tuple[int, float | None, float | None, float | None, float | None]]


def by_ticks(rows: Rows) -> list[int | None]:
    found: list[int | None] = []
    for at, (_, price, _, _) in enumerate(rows):
        others = [earlier for _, earlier, _, _ in rows[:at] if not math.isclose(earlier, price)]
        # Between the last other price and this one there may be equal ones only.
        found.append(None if not others else 1 if price > others[-1] else -1)
    return found


def by_quotes(rows: Rows, told: Quotes, lag: int) -> list[int | None]:
    ticks, found = by_ticks(rows), list[int | None]()
    for (at, price, _, _), tick in zip(rows, ticks, strict=True):
        before = [quote for quote in told if quote[0] < at - lag]
        bid, ask = (before[-1][1], before[-1][3]) if before else (None, None)
        mid = None if bid is None or ask is None else (bid + ask) / 2
        found.append(tick if mid is None or math.isclose(price, mid) else 1 if price > mid else -1)
    return found


def by_bulk(rows: Rows, length: int) -> list[float | None]:
    lasts = {at // length: price for at, price, _, _ in rows}
    bars = sorted(lasts)
    changes = {bar: lasts[bar] - lasts[before] for before, bar in pairwise(bars)}
    if len(changes) < 2:
        return [None] * len(rows)
    spread = stdev(changes.values())
    shares = {bar: NormalDist().cdf(change / spread) if spread > 1e-9 else 0.5 for bar, change in changes.items()}
    return [shares.get(at // length) for at, _, _, _ in rows]


@given(_tapes, _tapes)
def test_ticks_are_compared_with_the_last_other_price_of_the_token(one: Rows, other: Rows) -> None:
    both = pl.concat([trades(one, token_id="a"), trades(other, token_id="b")])

    found = classify_trades(both, method="tick")

    assert found["sign"].to_list() == by_ticks(one) + by_ticks(other)
    assert found["sign_source"].unique().to_list() == (["tick"] if found.height else [])


@given(_tapes, _quotes, st.sampled_from([0, 100]))
def test_trades_are_compared_with_the_quote_before_them(rows: Rows, told: Quotes, lag: int) -> None:
    found = classify_trades(trades(rows), quotes(told), method="lee_ready", lag=f"{lag}ms")

    assert found["sign"].to_list() == by_quotes(rows, told, lag)
    shares = [None if sign is None else (sign + 1) / 2 for sign in found["sign"]]
    assert found["buy_share"].to_list() == shares
    assert [None if share is None else ("sell", "buy")[int(share)] for share in shares] == found["side"].to_list()


@given(_tapes, _tapes)
def test_bulk_volume_is_shared_by_the_changes_of_bars(one: Rows, other: Rows) -> None:
    both = pl.concat([trades(one, token_id="a"), trades(other, token_id="b")])

    found = classify_trades(both, method="bulk_volume", bars="500ms")

    expected = by_bulk(one, 500) + by_bulk(other, 500)
    for share, known in zip(found["buy_share"], expected, strict=True):
        assert share == (None if known is None else pytest.approx(known, abs=1e-6))
    assert found["sign"].null_count() == found["side"].null_count() == found.height


def test_bars_of_volume_end_when_so_much_was_traded() -> None:
    rows = [(at, price, size, "buy") for at, price, size in ((0, 0.5, 60.0), (1, 0.52, 50.0), (2, 0.51, 90.0))]
    rows += [(3, 0.55, 100.0, "buy"), (4, 0.50, 10.0, "buy")]

    found = classify_trades(trades(rows), method="bulk_volume", bars=100)

    # The second trade begins in the first bar and ends in the second.
    assert found["bar"].to_list() == [0, 0, 1, 2, 3]
    changes = [0.51 - 0.52, 0.55 - 0.51, 0.50 - 0.55]
    expected = [NormalDist().cdf(change / stdev(changes)) for change in changes]
    assert found["buy_share"].to_list() == [None, None, *(pytest.approx(each) for each in expected)]


def test_prices_that_do_not_move_are_bought_and_sold_in_equal_parts() -> None:
    rows = [(1000 * at, 0.5, 1.0, "buy") for at in range(4)]

    assert classify_trades(trades(rows), method="bulk_volume", bars="1s")["buy_share"].to_list() == [
        None,
        0.5,
        0.5,
        0.5,
    ]


def test_nothing_after_a_gap_is_judged_by_what_was_before_it() -> None:
    rows = [(0, 0.5, 1.0, "buy"), (1000, 0.51, 1.0, "buy"), (2000, 0.52, 1.0, "buy"), (3000, 0.50, 1.0, "sell")]
    quoted = quotes([(0, 0.40, 1, 0.42, 1), (1950, 0.60, 1, 0.62, 1)])
    gap = gaps([(1200, 1900)])

    ticks = classify_trades(trades(rows), method="tick", gaps=gap)
    bulk = classify_trades(trades([*rows, (4000, 0.5, 1.0, "buy")]), method="bulk_volume", bars="1s", gaps=gap)
    inside = classify_trades(trades(rows), quoted, method="lee_ready", gaps=gaps([(900, 1950)]))

    assert ticks["sign"].to_list() == [None, 1, None, -1]
    assert [share is None for share in bulk["buy_share"]] == [True, False, True, False, False]
    assert inside["sign"].to_list() == [None, None, -1, -1]
    assert inside["rule"].to_list() == [None, None, "quote", "quote"]


def test_a_trade_at_the_mid_is_signed_by_ticks() -> None:
    quoted = quotes([(0, 0.40, 1, 0.42, 1)])
    rows = [(10, 0.41, 1.0, "buy"), (20, 0.42, 1.0, "buy"), (30, 0.41, 1.0, "sell")]

    found = classify_trades(trades(rows), quoted, method="lee_ready")

    assert found["sign"].to_list() == [None, 1, -1]
    assert found["rule"].to_list() == [None, "quote", "tick"]


def test_a_quote_of_the_same_instant_does_not_prevail() -> None:
    quoted = quotes([(0, 0.40, 1, 0.42, 1), (10, 0.50, 1, 0.52, 1)])

    found = classify_trades(trades([(10, 0.45, 1.0, "buy")]), quoted, method="lee_ready")

    assert found["side"].to_list() == ["buy"]


def test_the_feeds_signs_stay_as_they_are_and_a_missing_one_is_missing() -> None:
    rows = trades([(0, 0.5, 1.0, "buy"), (1, 0.5, 2.0, "sell")])
    unsigned = rows.with_columns(side=pl.when(pl.col("size") < 2).then("side"))

    assert classify_trades(rows, method="feed")["side"].to_list() == ["buy", "sell"]
    assert classify_trades(unsigned, method="feed")["sign"].to_list() == [1, None]
    with pytest.raises(ValueError, match=r"signed by \['tick'\]"):
        classify_trades(classify_trades(rows, method="tick"), method="feed")


def sample() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    night = pm.open_recording(pm.sample("evening"))
    return night.scan("trades").collect(), night.scan("prices").collect(), night.gaps


def test_a_lag_of_a_millisecond_undoes_the_change_that_a_trade_made() -> None:
    told, quoted, known = sample()

    rows = {
        lag: sign_agreement(told, quoted, ["feed", "lee_ready"], lag=lag, gaps=known).row(1, named=True)
        for lag in ("0s", "1ms")
    }

    assert 0.83 < rows["0s"]["share_of_trades"] < 0.845
    assert (rows["1ms"]["share_of_trades"], rows["1ms"]["n"]) == (1.0, 928)


def test_agreement_counts_trades_and_shares_and_those_left_out() -> None:
    told, quoted, known = sample()

    found = sign_agreement(told, quoted, gaps=known)

    frames = {method: classify_trades(told, quoted, method=method, gaps=known) for method in METHODS}
    size = frames["feed"]["size"].to_numpy()
    share = {method: rows["buy_share"].to_numpy() for method, rows in frames.items()}
    keys = frames["bulk_volume"].select("token_id", "bar").rows()
    assert found.height == 16
    for row in found.iter_rows(named=True):
        one, two = share[row["method"]], share[row["other"]]
        both = ~(np.isnan(one) | np.isnan(two))
        assert (row["n"], row["left_out"]) == (both.sum(), (~both).sum())
        assert (row["volume"], row["left_out_volume"]) == pytest.approx((size[both].sum(), size[~both].sum()))
        if "bulk_volume" not in (row["method"], row["other"]):
            assert row["share_of_trades"] == pytest.approx(float(np.sum(one[both] == two[both])) / both.sum())
            assert row["share_of_volume"] == pytest.approx(size[both & (one == two)].sum() / size[both].sum())
            continue
        bars: dict[tuple[str, int], list[float]] = {}
        for key, volume, first, second in zip(keys, size, one, two, strict=True):
            if not (np.isnan(first) or np.isnan(second)):
                sums = bars.setdefault(key, [0.0, 0.0, 0.0])
                sums[0], sums[1], sums[2] = sums[0] + volume, sums[1] + first * volume, sums[2] + second * volume
        agreed = sum(min(b, c) + min(v - b, v - c) for v, b, c in bars.values())
        assert row["share_of_trades"] is None
        assert row["share_of_volume"] == pytest.approx(agreed / sum(v for v, _, _ in bars.values()))


@pytest.mark.parametrize("method", METHODS)
def test_functions_that_ask_for_the_source_take_every_method(method: SignMethod) -> None:
    told, quoted, known = sample()
    rows = classify_trades(told, quoted, method=method, lag="1ms", gaps=known)

    flow = trade_flow(rows, sign_source=method)
    buckets = vpin(rows, bucket=500, window=2, sign_source=method)

    size, share = rows["size"].to_numpy(), rows["buy_share"].to_numpy()
    assert flow["volume"].sum() == pytest.approx(size.sum())
    assert flow["buy_volume"].sum() == pytest.approx(float(np.sum(np.nan_to_num(size * share))))
    assert flow["signed_volume"].sum() == pytest.approx(float(np.sum(np.nan_to_num(size * (2 * share - 1)))))
    assert (flow["buy_volume"] + flow["sell_volume"]).sum() == pytest.approx(size[~np.isnan(share)].sum())
    assert flow["sign_source"].unique().to_list() == buckets["sign_source"].unique().to_list() == [method]
    assert (buckets["buy_volume"] + buckets["sell_volume"]).to_list() == pytest.approx([500] * buckets.height)
    assert signed(rows, sign_source=method).height == rows.height


def test_costs_and_impact_need_the_sign_of_each_trade() -> None:
    rows = trades([(1000 * at, price, 1.0 + at, "buy") for at, price in enumerate((0.5, 0.52, 0.51, 0.55, 0.5))])
    mids = rows.with_columns(mid_before=pl.lit(0.5), mid_after=pl.col("price"))
    ticks = classify_trades(mids, method="tick")
    bulk = classify_trades(mids, method="bulk_volume", bars="1s")

    costs = trade_costs(ticks, sign_source="tick")
    line = kyle_lambda(ticks, sign_source="tick")

    assert costs["effective_spread"].to_list() == [None, *(pytest.approx(each) for each in (0.04, -0.02, 0.1, 0.0))]
    assert line is not None
    assert (line.n, line.sign_source) == (4, "tick")
    with pytest.raises(ValueError, match="'bulk_volume' says how much of a bar was bought, not which trades"):
        trade_costs(bulk, sign_source="bulk_volume")
    with pytest.raises(ValueError, match="sign_source is 'feed' but the trades were signed by"):
        trade_flow(ticks, sign_source="feed")


@pytest.mark.parametrize("method", METHODS)
def test_empty_frames_and_single_trades_have_no_signs_to_compare(method: SignMethod) -> None:
    none, quoted = SCHEMAS["trades"].to_frame(), SCHEMAS["prices"].to_frame()
    one = trades([(0, 0.5, 10.0, "buy")])

    empty = classify_trades(none, quoted, method=method, gaps=SCHEMAS["gaps"].to_frame())
    single = classify_trades(one, quoted, method=method)

    assert empty.height == 0
    assert {"sign", "buy_share", "rule", "sign_source"} <= set(empty.columns)
    assert single["buy_share"].to_list() == [1.0 if method == "feed" else None]
    row = sign_agreement(none, quoted, [method]).row(0, named=True)
    assert (row["share_of_volume"], row["n"], row["left_out"]) == (None, 0, 0)
    assert trade_flow(empty, "1s", sign_source=method).height == 0


def test_what_is_no_method_or_out_of_range_is_refused() -> None:
    rows = trades([(0, 0.5, 1.0, "buy")])

    with pytest.raises(ValueError, match="invalid method 'emo'; expected one of 'feed', 'tick'"):
        classify_trades(rows, method="emo")  # pyright: ignore[reportArgumentType]  # what is tested
    with pytest.raises(ValueError, match="expected rows of prices"):
        classify_trades(rows, method="lee_ready")
    with pytest.raises(ValueError, match="invalid lag"):
        classify_trades(rows, quotes([]), method="lee_ready", lag="-1s")
    with pytest.raises(ValueError, match="invalid bars 0"):
        classify_trades(rows, method="bulk_volume", bars=0)
    with pytest.raises(ValueError, match="invalid degrees of freedom -1"):
        classify_trades(rows, method="bulk_volume", degrees=-1)
    with pytest.raises(ValueError, match="there are no methods"):
        sign_agreement(rows, quotes([]), [])
    with pytest.raises(ValueError, match="needs the columns"):
        classify_trades(rows.drop("side"), method="feed")


def test_the_normal_distribution_is_that_of_the_standard_library() -> None:
    x = np.linspace(-6, 6, 49)

    assert normal_cdf(x).tolist() == pytest.approx([NormalDist().cdf(each) for each in x.tolist()], abs=1e-15)


@pytest.mark.parametrize("degrees", [0.25, 1, 2, 5, 30, 400])
def test_students_distribution_is_the_integral_of_its_density(degrees: float) -> None:
    x = np.array([-30.0, -3.0, -0.7, 0.0, 1e-6, 0.5, 2.0, 12.0])

    found = t_cdf(x, degrees)

    grid = np.linspace(0, 1, 200_001)
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)
    for each, share in zip(x.tolist(), found.tolist(), strict=True):
        at = abs(each) * grid
        density = scale * (1 + at**2 / degrees) ** (-(degrees + 1) / 2)
        half = abs(each) * float(np.sum((density[1:] + density[:-1]) / 2)) / (len(grid) - 1)
        assert share == pytest.approx(0.5 + math.copysign(half, each), abs=1e-8)
    assert t_cdf(np.array([1.0]), 1.0).tolist() == pytest.approx([0.75])
    assert t_cdf(np.array([math.inf, -math.inf]), 3.0).tolist() == [1.0, 0.0]
