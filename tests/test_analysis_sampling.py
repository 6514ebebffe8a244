"""Values at even times and their changes from then on, across gaps and at the ends of what was recorded."""

import polars as pl
import pytest
from analysing import gaps, mids, ms, quotes

from pmlive.analysis import forward_changes, quote_measures, sample, time_weighted_mean, trade_bars
from pmlive.analysis._intervals import labelled


def test_a_sample_has_what_was_known_at_each_whole_step_and_nothing_before_the_first_row() -> None:
    found = sample(quote_measures(mids([(200, 0.5), (1700, 0.6), (3000, 0.7)])), "1s", values=["mid", "imbalance"])

    assert ms(found["ts_recv"]) == [1000, 2000, 3000]
    assert found["mid"].round(6).to_list() == [0.5, 0.6, 0.7]
    assert found["imbalance"].to_list() == [0.0] * 3


def test_a_sample_is_null_in_a_gap_and_says_so() -> None:
    found = sample(mids([(0, 0.5), (4000, 0.6)]), "1s", values=["mid"], gaps=gaps([(500, 2500)]))

    assert found["touched"].to_list() == [False, True, True, False, False]
    assert found["mid"].is_null().to_list() == [False, True, True, False, False]


def test_a_sample_of_a_column_that_is_missing_is_refused() -> None:
    with pytest.raises(ValueError, match="no columns \\['imbalance'\\]"):
        sample(mids([(0, 0.5)]), values=["imbalance"])


def test_a_change_is_of_what_stands_that_much_later() -> None:
    found = forward_changes(mids([(0, 0.5), (400, 0.52), (1000, 0.55), (2000, 0.6)]), "1s")

    assert found["change"].round(6).to_list() == [0.05, 0.03, 0.05, None]


def test_a_change_across_a_gap_is_not_known_even_if_both_ends_are() -> None:
    rows = mids([(0, 0.5), (2000, 0.6), (4000, 0.7)])

    found = forward_changes(rows, "2s", gaps=gaps([(2500, 2600)]))

    assert found["change"].round(6).to_list() == [0.1, None, None]
    assert found["touched"].to_list() == [False, True, False]


def test_a_change_is_of_the_same_token() -> None:
    rows = pl.concat([mids([(0, 0.5), (1000, 0.6)]), mids([(0, 0.1), (1000, 0.3)], token_id="no")])

    found = forward_changes(rows, "1s").sort("token_id", "ts_recv")

    assert found["change"].round(6).to_list() == [0.2, None, 0.1, None]


def test_a_change_of_what_was_sampled_before_has_flags_of_its_own() -> None:
    gap = gaps([(1500, 1600)])
    sampled = sample(mids([(0, 0.5), (1900, 0.6), (4000, 0.7)]), "1s", values=["mid"], gaps=gap)

    found = forward_changes(sampled, "1s", gaps=gap)

    assert found["touched"].to_list() == [False, True, False, False, False]
    assert found["change"].round(6).to_list() == [0.0, None, 0.0, 0.1, None]


@pytest.mark.parametrize("name", ["mids", ""])
def test_a_change_of_a_column_that_is_missing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no column"):
        forward_changes(mids([(0, 0.5)]), "1s", value=name)


# --- labels ---


def _named(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(slug=pl.lit("rain", dtype=pl.Categorical), outcome=pl.col("token_id").cast(pl.Categorical))


def test_results_have_the_names_of_tokens_that_the_rows_have() -> None:
    rows = _named(pl.concat([mids([(0, 0.5), (1500, 0.6)]), mids([(0, 0.1), (1500, 0.3)], token_id="no")]))

    for found in (time_weighted_mean(rows, "1s"), sample(rows, "1s"), trade_bars(_traded(rows), "1s")):
        assert found.columns[:3] == ["token_id", "slug", "outcome"]
        assert found["slug"].unique().to_list() == ["rain"]
        assert found["outcome"].cast(pl.String).to_list() == found["token_id"].to_list()


def test_results_of_rows_without_names_have_none() -> None:
    assert "slug" not in time_weighted_mean(mids([(0, 0.5), (1500, 0.6)]), "1s").columns


def test_a_name_that_came_later_is_that_of_the_token() -> None:
    rows = mids([(0, 0.5), (1000, 0.6)]).with_columns(slug=pl.Series([None, "rain"]), outcome=pl.lit("Yes"))

    assert labelled(pl.DataFrame({"token_id": ["yes"], "x": [1]}), rows).row(0) == ("yes", "rain", "Yes", 1)


def _traded(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(price="mid", size=pl.lit(1.0))


def test_rows_whose_connection_is_not_known_are_concerned_by_any() -> None:
    rows = quotes([(0, 0.4, 1.0, 0.5, 1.0), (3000, 0.4, 1.0, 0.5, 1.0)])
    gap = gaps([(1000, 2000)], token_id=None, conn=7)

    known = sample(rows, "1s", values=["mid"], gaps=gap)
    unknown = sample(rows.with_columns(conn=pl.lit(None, dtype=pl.UInt32)), "500ms", values=["mid"], gaps=gap)

    assert not known["touched"].any()
    assert ms(unknown.filter("touched")["ts_recv"]) == [1500]
