from datetime import timedelta

import polars as pl
import pytest
from analysing import gaps, mids, ms, times
from polars.testing import assert_frame_equal

from pmlive.analysis import EventWindow, align, event_study, placebos

_WINDOW = EventWindow(before="2s", after="2s", step="1s")


def events(*milliseconds: float, token_id: str = "yes") -> pl.DataFrame:
    return pl.DataFrame({"ts_recv": times(milliseconds)}).with_columns(token_id=pl.lit(token_id))


def jumps() -> pl.DataFrame:
    """A token whose quote moves up by a cent a second and, at 100 s and 200 s, by ten at once."""
    points = [
        (1000 * at, 0.1 + 0.001 * at + (0.1 if at >= 100 else 0) + (0.1 if at >= 200 else 0)) for at in range(301)
    ]
    return mids(points)


def test_values_are_read_off_around_events() -> None:
    rows = mids([(0, 0.1), (2500, 0.2), (4000, 0.3), (4500, 0.4), (9000, 0.5)])

    found = align(rows, events(4000), ["mid"], window=_WINDOW)

    assert ms(found["offset"]) == [-2000, -1000, 0, 1000, 2000]
    assert found["mid"].to_list() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert found["updates"].to_list() == [None, 1, 1, 1, 0]
    assert found["touched"].to_list() == [None] * 5


def test_before_the_first_and_after_the_last_row_nothing_is_known() -> None:
    rows = mids([(1000, 0.1), (2000, 0.2)])

    found = align(rows, events(2000), ["mid"], window=_WINDOW)

    assert found["mid"].to_list() == [None, pytest.approx(0.1), pytest.approx(0.2), None, None]
    assert found["updates"].to_list() == [None, 1, 1, None, None]


def test_an_event_whose_window_a_gap_touches_is_flagged_or_dropped_as_a_whole() -> None:
    rows, both = jumps(), events(50_000, 100_000)
    gap = gaps([(101_000, 101_500)])

    flagged = align(rows, both, ["mid"], window=_WINDOW, gaps=gap)
    dropped = align(rows, both, ["mid"], window=_WINDOW, gaps=gap, touched="drop")

    assert flagged.group_by("event").agg(pl.col("touched").all(), pl.col("mid").count()).sort("event").rows() == [
        (0, False, 5),
        (1, True, 0),
    ]
    assert dropped["event"].unique().to_list() == [0]


def test_random_times_leave_room_for_the_window_and_repeat_with_the_seed() -> None:
    rows = mids([(0, 0.1), (10_000, 0.2)])

    drawn = placebos(rows, events(3000, 4000), draws=50, window=_WINDOW, seed=3)

    assert drawn.height == 100
    assert drawn["draw"].unique().to_list() == list(range(50))
    assert all(at is not None and 2000 <= at <= 8000 for at in ms(drawn["ts_recv"]))
    assert drawn["ts_recv"].n_unique() > 90
    assert_frame_equal(drawn, placebos(rows, events(3000, 4000), draws=50, window=_WINDOW, seed=3))


def test_too_little_to_draw_from_is_refused() -> None:
    with pytest.raises(ValueError, match=r"less time in the frame than the window takes: .*\['yes'\]"):
        placebos(mids([(0, 0.1), (3000, 0.2)]), events(1000), draws=1, window=_WINDOW)
    with pytest.raises(ValueError, match=r"\['other'\]"):
        placebos(jumps(), events(1000, token_id="other"), draws=1, window=_WINDOW)


def test_a_jump_stands_out_of_random_times() -> None:
    found = event_study(jumps(), events(100_000, 200_000), ["mid"], measure="change", window=_WINDOW, draws=60)

    after = found.filter((pl.col("value") == "mid") & (pl.col("offset") == timedelta(seconds=1))).row(0, named=True)
    before = found.filter((pl.col("value") == "mid") & (pl.col("offset") == timedelta(seconds=-1))).row(0, named=True)
    assert after["median"] == pytest.approx(0.102)
    assert after["n"] == 2
    assert after["null_median"] == pytest.approx(0.002)
    assert after["median"] > after["null_high"]
    assert (before["median"], before["null_low"], before["null_high"]) == (0, 0, 0)


def test_levels_are_medians_and_updates_are_counted() -> None:
    found = event_study(jumps(), events(50_000, 51_000, 52_000), window=_WINDOW, draws=5)

    assert found["value"].unique().sort().to_list() == ["mid", "spread", "updates"]
    at = found.filter(pl.col("offset") == timedelta(0))
    assert dict(zip(at["value"], at["median"], strict=True)) == pytest.approx(
        {"mid": 0.151, "spread": 0.01, "updates": 1.0}
    )


def test_windows_with_a_gap_are_in_neither_the_events_nor_the_random_times() -> None:
    rows = mids([(1000 * at, 0.2 if at < 150 else 0.8) for at in range(301)])

    found = event_study(rows, events(50_000, 200_000), ["mid"], window=_WINDOW, gaps=gaps([(140_000, None)]), draws=40)

    mid = found.filter(pl.col("value") == "mid")
    assert mid["n"].to_list() == [1] * 5
    assert mid["null_high"].to_list() == pytest.approx([0.2] * 5)


def test_wrong_words_and_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="'level' or 'change'"):
        event_study(jumps(), events(1), measure="ratio")  # pyright: ignore[reportArgumentType]  # what is tested
    with pytest.raises(ValueError, match="above 0"):
        align(jumps(), events(1), window=EventWindow(step="0s"))


def test_events_may_name_their_tokens_as_the_frame_does() -> None:
    names = {"slug": pl.lit("rain", dtype=pl.Categorical), "outcome": pl.lit("Yes", dtype=pl.Categorical)}
    rows = mids([(0, 0.1), (2500, 0.2), (4500, 0.4)]).with_columns(**names)
    named = events(2000, 3000).drop("token_id").with_columns(slug=pl.lit("rain"), outcome=pl.lit("Yes"))

    found = align(rows, named, ["mid"], window=_WINDOW)

    assert_frame_equal(found, align(rows, events(2000, 3000), ["mid"], window=_WINDOW))
    assert found.columns[:4] == ["event", "token_id", "slug", "outcome"]
    assert placebos(rows, named, draws=2, window=_WINDOW)["token_id"].unique().to_list() == ["yes"]


def test_events_that_name_no_token_of_the_frame_are_refused() -> None:
    rows = mids([(0, 0.1)]).with_columns(slug=pl.lit("rain"), outcome=pl.lit("Yes"))
    named = events(0).drop("token_id").with_columns(slug=pl.lit("snow"), outcome=pl.lit("Yes"))

    with pytest.raises(ValueError, match=r"no rows of \[\('snow', 'Yes'\)\]"):
        align(rows, named)
    with pytest.raises(ValueError, match="'slug' and 'outcome' if the frame has these"):
        align(mids([(0, 0.1)]), named)
    with pytest.raises(ValueError, match="expected 'ts_recv' with 'token_id'"):
        align(rows, events(0).drop("token_id"))


def test_a_window_may_end_with_the_event() -> None:
    window = EventWindow(before="2s", after="0s", step="1s")

    assert ms(align(mids([(0, 0.1), (9000, 0.2)]), events(4000), window=window)["offset"]) == [-2000, -1000, 0]
    with pytest.raises(ValueError, match="invalid before '-1s'"):
        EventWindow(before="-1s").offsets()
