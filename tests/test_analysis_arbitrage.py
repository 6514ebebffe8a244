"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

import msgspec
import polars as pl
import pytest
from analysing import gaps, golden, ms, quotes, times
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pmlive.analysis import arbitrages, episodes, event_sums, fees_by_token, mirror, neg_risk_sums, set_sums
from pmlive.markets import FeeSchedule

_GOLDEN = golden("arb")
_CRYPTO = FeeSchedule(enabled=True, rate=0.07, exponent=1)
_FREE = FeeSchedule()

_moves = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from(["a", "b", "c"]), st.integers(1, 48), st.integers(49, 98)),
    min_size=1,
    max_size=25,
)


def still(token_id: str, bid: float, ask: float, size: float = 50.0) -> pl.DataFrame:
    return quotes([(0, bid, size, ask, size)], token_id=token_id)


def test_the_golden_pair_pays_before_fees_and_not_after() -> None:
    told = _GOLDEN["binary_buy_both"]
    rows = pl.concat([still("yes", 0.46, told["yes_ask"]), still("no", 0.49, told["no_ask"], size=20)])

    row = set_sums(rows, ["yes", "no"], fees={"yes": _CRYPTO, "no": _CRYPTO}).row(0, named=True)

    assert row["buy_gross"] == pytest.approx(told["gross"], rel=1e-9)
    assert row["buy_net"] == pytest.approx(told["net_rate007"], rel=1e-9)
    assert (row["buy_size"], row["sell_sum"]) == (20.0, pytest.approx(0.95))


def test_the_golden_sets_of_an_event_are_priced() -> None:
    yes, no = _GOLDEN["negrisk_buy_all_yes"], _GOLDEN["negrisk_buy_all_no"]
    names = ["a", "b", "c"]
    rows = pl.concat(
        [
            still(f"{side}-{name}", ask - 0.01, ask, size=10 + place)
            for side, asks in (("yes", yes["asks"]), ("no", no["no_asks"]))
            for place, (name, ask) in enumerate(zip(names, asks, strict=True))
        ]
    )
    tokens = {side: [f"{side}-{name}" for name in names] for side in ("yes", "no")}
    fees = dict.fromkeys([*tokens["yes"], *tokens["no"]], _CRYPTO)

    row = neg_risk_sums(rows, yes=tokens["yes"], no=tokens["no"], fees=fees).row(0, named=True)

    assert row["yes_buy_sum"] == pytest.approx(yes["sum"], rel=1e-9)
    assert row["yes_buy_gross"] == pytest.approx(yes["gross_per_set"], rel=1e-9)
    assert row["yes_buy_net"] == pytest.approx(yes["net_rate007"], rel=1e-9)
    assert row["yes_buy_size"] == 10
    assert row["no_buy_sum"] == pytest.approx(no["sum"], rel=1e-9)
    assert row["no_buy_gross"] == pytest.approx(no["gross_per_set"], rel=1e-9)


def test_selling_every_yes_pays_where_the_bids_add_up_to_more_than_1() -> None:
    rows = pl.concat([still("a", 0.6, 0.65), still("b", 0.45, 0.5)])

    row = set_sums(rows, ["a", "b"], fees={"a": _FREE, "b": _FREE}).row(0, named=True)

    assert row["sell_net"] == row["sell_gross"] == pytest.approx(0.05)


def test_each_market_has_its_own_fees() -> None:
    rows = pl.concat([still("a", 0.4, 0.5), still("b", 0.4, 0.5)])

    row = set_sums(rows, ["a", "b"], fees={"a": _CRYPTO, "b": _FREE}).row(0, named=True)

    assert row["buy_net"] == pytest.approx(-0.0175)


def test_golden_books_that_mirror_do_not_deviate() -> None:
    told = _GOLDEN["mirror_identity"]
    yes, no = told["yes"], told["no_expected"]
    rows = pl.concat([still("yes", yes["bid"], yes["ask"]), still("no", no["bid"], no["ask"])])

    steps = mirror(rows, yes="yes", no="no")
    sums = set_sums(rows, ["yes", "no"], fees={"yes": _FREE, "no": _FREE})

    assert steps["deviation"].to_list() == [0.0]
    assert sums["buy_sum"].to_list() == pytest.approx([told["ask_sum"]])
    assert episodes(steps, "deviation").height == 0


def test_a_late_mirror_is_an_episode_with_its_duration() -> None:
    yes = quotes([(0, 0.60, 1, 0.62, 1), (100, 0.65, 1, 0.67, 1), (400, 0.70, 1, 0.72, 1)], token_id="yes")
    no = quotes([(0, 0.38, 1, 0.40, 1), (130, 0.33, 1, 0.35, 1), (400, 0.28, 1, 0.30, 1)], token_id="no")

    found = episodes(mirror(pl.concat([yes, no]), yes="yes", no="no"), "deviation")

    assert ms(found["start"]) == [100]
    assert ms(found["end"]) == [130]
    assert found.select("duration_ms", "peak", "size", "cut").row(0) == (30.0, pytest.approx(0.05), None, False)


def test_a_leg_without_a_quote_makes_the_sum_unknown() -> None:
    a = quotes([(0, 0.3, 1, 0.4, 1), (300, 0.3, 1, None, None), (500, 0.3, 1, 0.4, 1)], token_id="a")
    b = quotes([(100, 0.3, 1, 0.4, 1), (600, 0.3, 1, 0.4, 1)], token_id="b")

    steps = set_sums(pl.concat([a, b]), ["a", "b"], fees={"a": _FREE, "b": _FREE})

    assert ms(steps["start"]) == [0, 100, 300, 500, 600]
    assert steps["buy_net"].to_list() == [None, pytest.approx(0.2), None, pytest.approx(0.2), pytest.approx(0.2)]
    assert steps["buy_size"].to_list() == [None, 1.0, None, 1.0, 1.0]
    assert steps["sell_sum"].to_list() == [None, *[pytest.approx(0.6)] * 4]
    found = episodes(steps, "buy_net", size="buy_size")
    assert found.select("duration_ms", "size", "cut").rows() == [(200.0, 1.0, True), (100.0, 1.0, True)]


def test_a_gap_of_a_leg_makes_the_sum_unknown_while_it_lasts() -> None:
    rows = pl.concat([still("a", 0.3, 0.4), quotes([(0, 0.3, 1, 0.4, 1), (900, 0.3, 1, 0.4, 2)], token_id="b")])

    steps = set_sums(rows, ["a", "b"], fees={"a": _FREE, "b": _FREE}, gaps=gaps([(200, 500)], token_id="a"))

    assert ms(steps["start"]) == [0, 200, 500, 900]
    assert steps["buy_sum"].to_list() == [0.8, None, 0.8, 0.8]


def test_a_gap_of_another_token_changes_nothing() -> None:
    rows = pl.concat([still("a", 0.3, 0.4), quotes([(0, 0.3, 1, 0.4, 1), (900, 0.3, 1, 0.4, 2)], token_id="b")])

    steps = set_sums(rows, ["a", "b"], fees={"a": _FREE, "b": _FREE}, gaps=gaps([(200, None)], token_id="c"))

    assert steps["buy_sum"].null_count() == 0


def test_a_token_without_any_quote_leaves_everything_unknown() -> None:
    steps = set_sums(still("a", 0.3, 0.4), ["a", "b"], fees={"a": _FREE, "b": _FREE})

    assert steps.select("buy_sum", "buy_size", "sell_net").rows() == [(None, None, None)]
    assert mirror(still("a", 0.3, 0.4), yes="a", no="b")["deviation"].to_list() == [None]


def test_messages_of_one_instant_are_one_step() -> None:
    rows = pl.concat([still("a", 0.3, 0.4), still("b", 0.6, 0.7), still("b", 0.5, 0.6)])

    assert set_sums(rows, ["a", "b"], fees={"a": _FREE, "b": _FREE})["buy_sum"].to_list() == [1.0]


def test_a_step_begins_at_the_last_nanosecond_too() -> None:
    rows = pl.concat([still("a", 0.3, 0.4), quotes([(0, 0.3, 1, 0.4, 1), (1.000789, 0.3, 1, 0.5, 2)], token_id="b")])

    steps = set_sums(rows, ["a", "b"], fees={"a": _FREE, "b": _FREE})

    assert steps["buy_sum"].to_list() == [0.8, 0.9]
    assert (steps["end"] - steps["start"]).cast(pl.Int64).to_list() == [1_000_789, 0]


@given(_moves)
def test_sums_equal_those_of_a_dict_of_the_last_quotes(moves: list[tuple[int, str, int, int]]) -> None:
    ordered = sorted(moves, key=lambda move: move[0])
    rows = pl.concat([quotes([(at, bid / 100, 1, ask / 100, 1)], token_id=name) for at, name, bid, ask in ordered])

    steps = set_sums(rows, ["a", "b", "c"], fees=dict.fromkeys("abc", _FREE))

    last: dict[str, int] = {}
    expected: dict[int, float | None] = {}
    for at, name, _, ask in ordered:
        last[name] = ask
        expected[at] = round(sum(last.values()) / 100, 12) if len(last) == 3 else None
    assert dict(zip(ms(steps["start"]), steps["buy_sum"], strict=True)) == expected


@given(st.lists(st.one_of(st.none(), st.integers(-2, 2)), max_size=15))
def test_episodes_cover_exactly_what_is_above(values: list[int | None]) -> None:
    steps = pl.DataFrame(
        {
            "start": times(range(len(values))),
            "end": times(range(1, len(values) + 1)),
            "value": pl.Series(values, dtype=pl.Float64),
        }
    )

    found = episodes(steps, "value")

    covered = [
        at
        for start, end in zip(ms(found["start"]), ms(found["end"]), strict=True)
        for at in range(start or 0, end or 0)
    ]
    assert covered == [at for at, value in enumerate(values) if value is not None and value > 0]
    for start, end, cut in zip(ms(found["start"]), ms(found["end"]), found["cut"], strict=True):
        around = [values[at] if 0 <= at < len(values) else None for at in ((start or 0) - 1, end or 0)]
        assert cut == (None in around)


def test_wrong_tokens_and_missing_fees_are_refused() -> None:
    rows = pl.concat([still("a", 0.3, 0.4), still("b", 0.6, 0.7)])

    with pytest.raises(ValueError, match="expected two or more different ones"):
        mirror(rows, yes="a", no="a")
    with pytest.raises(ValueError, match="no fees for token 'b'"):
        set_sums(rows, ["a", "b"], fees={"a": _FREE})
    with pytest.raises(ValueError, match="enabled and has no formula"):
        set_sums(rows, ["a", "b"], fees={"a": _FREE, "b": FeeSchedule(enabled=True)})
    with pytest.raises(ValueError, match="got 2 and 1 tokens"):
        neg_risk_sums(rows, yes=["a", "b"], no=["c"], fees={})


def test_arbitrages_are_what_a_set_can_be_bought_for_below_what_it_pays() -> None:
    """Asks of 0.47 and 0.5 for 40 ms, 20 sets of them: 3 cents a set before fees of 0.07, and -0.49 after."""
    rows = pl.concat(
        [
            quotes([(0, 0.40, 50, 0.52, 50), (60, 0.40, 50, 0.47, 50), (100, 0.40, 50, 0.52, 50)], token_id="yes"),
            quotes([(0, 0.40, 50, 0.50, 20), (200, 0.40, 50, 0.50, 20)], token_id="no"),
        ]
    )
    sums = set_sums(rows, ["yes", "no"], fees={"yes": _CRYPTO, "no": _CRYPTO})

    (found,) = arbitrages(sums, "gross").to_dicts()

    assert (found["trade"], found["duration_ms"], found["cut"]) == ("buy", 40.0, False)
    assert (found["peak"], found["size"], found["dollars"]) == pytest.approx((0.03, 20.0, 0.6))
    assert arbitrages(sums).height == 0


def test_an_event_has_two_arbitrages_and_no_sale() -> None:
    rows = pl.concat(
        [still("yes-a", 0.2, 0.4), still("yes-b", 0.2, 0.5), still("no-a", 0.3, 0.45), still("no-b", 0.3, 0.5)]
    )
    free = dict.fromkeys(["yes-a", "yes-b", "no-a", "no-b"], _FREE)
    later = rows.with_columns(ts_recv=pl.col("ts_recv") + pl.duration(nanoseconds=1_000_000_000))

    sums = neg_risk_sums(pl.concat([rows, later]), yes=["yes-a", "yes-b"], no=["no-a", "no-b"], fees=free)

    found = arbitrages(sums)
    assert found["trade"].to_list() == ["yes_buy", "no_buy"]
    assert found["peak"].to_list() == pytest.approx([0.1, 0.05])
    with pytest.raises(ValueError, match="expected 'gross' or 'net'"):
        arbitrages(sums, "best")  # pyright: ignore[reportArgumentType]  # what is refused


class _Market(msgspec.Struct):
    slug: str
    token_ids: list[str]
    event_slug: str = "chair"
    outcomes: list[str] = msgspec.field(default_factory=lambda: ["Yes", "No"])
    fees: FeeSchedule = _CRYPTO


def test_the_sums_of_an_event_are_those_of_its_tokens_and_fees() -> None:
    ash, birch = _Market("ash", ["1", "2"]), _Market("birch", ["4", "3"], outcomes=["No", "Yes"], fees=_FREE)
    rows = pl.concat(still(token, 0.4, 0.45) for token in "1234")
    gap = gaps([(-5, 5)], token_id="3")

    found = event_sums(rows, [ash, birch])

    fees = {"1": _CRYPTO, "2": _CRYPTO, "3": _FREE, "4": _FREE}
    assert fees_by_token([ash, birch]) == fees
    assert_frame_equal(found, neg_risk_sums(rows, yes=["1", "3"], no=["2", "4"], fees=fees))
    assert event_sums(rows, [ash, birch], gaps=gap)["yes_buy_sum"].null_count() > 0


def test_markets_that_are_no_set_are_refused() -> None:
    ash, other = _Market("ash", ["1", "2"]), _Market("sun", ["5", "6"], event_slug="weather")
    rows = still("1", 0.4, 0.45)

    with pytest.raises(ValueError, match=r"1 markets of the events \['chair'\]"):
        event_sums(rows, [ash])
    with pytest.raises(ValueError, match=r"2 markets of the events \['chair', 'weather'\]"):
        event_sums(rows, [ash, other])
    with pytest.raises(ValueError, match=r"'up' has the outcomes \['Up', 'Down'\]; expected Yes and No"):
        event_sums(rows, [ash, _Market("up", ["7", "8"], outcomes=["Up", "Down"])])
