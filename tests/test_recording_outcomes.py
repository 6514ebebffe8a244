"""What a recording knows of how its markets ended."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from support.night import NOON, Night
from support.venue import START, Venue

import pmlive as pm
from pmlive.errors import StoreError
from pmlive.events import MarketResolved
from pmlive.pipeline.journal import rebuild
from pmlive.recording.contents import Contents
from pmlive.recording.index import RecordingIndex, outcomes
from pmlive.recording.trust import UnsubscriptionCache
from pmlive.store import Manifest, read_manifest
from pmlive.store.markets_file import MarketsFile
from pmlive.store.reader import UnsealedSegment
from pmlive.tables import MARKETS

MARKET: dict[str, Any] = {
    "condition_id": "0xm",
    "slug": "rain",
    "question": "Will it rain?\u202e",
    "outcomes": ["Yes", "No"],
    "token_ids": ["1", "2"],
}


def opened(night: Night, *markets: dict[str, Any]) -> RecordingIndex:
    segment = UnsealedSegment(number=0, size=0, records=night.records)
    manifest = Manifest(pmlive="", created="", markets=list(markets))
    contents = Contents(Path("nowhere"), manifest, [segment], [rebuild(night.records)])
    return RecordingIndex(contents, UnsubscriptionCache(), {})


def message(winner: str, name: str, *, market: str = "0xm", tokens: tuple[str, ...] = ("1", "2")) -> str:
    told = {"event_type": "market_resolved", "market": market, "id": "5", "assets_ids": tokens, "slug": "rain-again"}
    rest = {"winning_asset_id": winner, "winning_outcome": name, "timestamp": str(START), "outcomes": ["Up", "Down"]}
    return json.dumps(told | rest | {"question": "Up?"})


def begun() -> Night:
    night = Night()
    night.open(0, 1, ["1", "2"])
    night.frame(10, Venue().opening())
    night.frame(10, Venue("2").opening())
    return night


def test_before_a_resolution_nobody_won() -> None:
    night = begun()
    night.end(1000)

    found = outcomes(opened(night, MARKET))

    assert found.columns == [
        "market",
        "slug",
        "question",
        "token_id",
        "outcome",
        "resolved",
        "winner",
        "resolved_at",
        "source",
        "end_date",
    ]
    assert found.rows() == [
        ("0xm", "rain", "Will it rain?", "1", "Yes", False, None, None, None, None),
        ("0xm", "rain", "Will it rain?", "2", "No", False, None, None, None, None),
    ]


def test_the_socket_says_who_won() -> None:
    night = begun()
    night.frame(500, message("2", "No"))
    night.end(1000)

    found = outcomes(opened(night, MARKET))

    assert found.select("token_id", "resolved", "winner", "source").rows() == [
        ("1", True, False, "feed"),
        ("2", True, True, "feed"),
    ]
    assert found["resolved_at"].dt.epoch("ns").to_list() == [NOON + 500_000_000] * 2


def test_the_catalogue_says_who_won_or_that_nobody_did() -> None:
    won, split = (
        MarketResolved(
            market="0xm", timestamp=START, token_ids=["1", "2"], winning_token_id=token, winning_outcome=name
        )
        for token, name in (("1", "Yes"), ("", ""))
    )
    nights = [begun(), begun()]
    for night, told in zip(nights, (won, split), strict=True):
        night.note(500, "resolved", told, 0)
        night.end(1000)

    one, other = (outcomes(opened(night, MARKET)) for night in nights)

    assert one.select("resolved", "winner", "source").rows() == [(True, True, "catalogue"), (True, False, "catalogue")]
    assert other.select("resolved", "winner").rows() == [(True, None), (True, None)]


def test_tokens_of_another_version_are_known_by_the_name_of_their_outcome() -> None:
    night = begun()
    night.frame(500, message("902", "NO", tokens=("901", "902")))
    night.end(1000)

    found = outcomes(opened(night, MARKET)).filter(pl.col("slug") == "rain")

    assert found.select("token_id", "winner").rows() == [("1", False), ("2", True)]


def test_markets_without_an_entry_are_known_by_messages_and_books() -> None:
    night = begun()
    night.frame(500, message("72", "Down", market="0xother", tokens=("71", "72")))
    night.end(1000)

    found = outcomes(opened(night))

    assert found.select("market", "slug", "question", "token_id", "outcome", "resolved", "winner").rows() == [
        ("0xother", "rain-again", "Up?", "71", "Up", True, False),
        ("0xother", "rain-again", "Up?", "72", "Down", True, True),
        ("0xm", None, None, "1", None, False, None),
        ("0xm", None, None, "2", None, False, None),
    ]


END = datetime(2026, 11, 30, 12, tzinfo=UTC)
ENDING = MARKET | {"end_date": "2026-11-30T12:00:00Z"}
NAMELESS = {"slug": "other", "outcomes": ["Yes"], "token_ids": ["9"]}


@pytest.mark.parametrize(
    ("markets", "told", "ends"),
    [
        pytest.param([ENDING], None, {"1": END, "2": END}, id="known, not resolved"),
        pytest.param([ENDING], "feed", {"1": END, "2": END}, id="known, resolved by the feed"),
        pytest.param([ENDING], "catalogue", {"1": END, "2": END}, id="known, resolved by the catalogue"),
        pytest.param([MARKET], None, {"1": None, "2": None}, id="unknown, not resolved"),
        pytest.param([MARKET], "feed", {"1": None, "2": None}, id="unknown, resolved by the feed"),
        pytest.param([MARKET], "catalogue", {"1": None, "2": None}, id="unknown, resolved by the catalogue"),
        pytest.param([], "feed", {"1": None, "2": None}, id="no entry, told by the feed"),
        pytest.param(
            [ENDING | {"token_ids": ["901", "902"]}],
            "feed",
            {"901": END, "902": END, "1": END, "2": END},
            id="tokens of another version",
        ),
        pytest.param([MARKET | {"end_date": "2026-11-30T12:00:00"}], None, {"1": END, "2": END}, id="without a zone"),
        pytest.param(
            [MARKET, NAMELESS | {"end_date": "2026-11-30T12:00:00Z"}, NAMELESS | {"token_ids": ["8"]}],
            None,
            {"1": None, "2": None, "9": END, "8": None},
            id="markets without an id",
        ),
    ],
)
def test_a_market_was_to_end_when_the_catalogue_said(
    markets: list[dict[str, Any]], told: str | None, ends: dict[str, datetime | None]
) -> None:
    night = begun()
    if told == "feed":
        night.frame(500, message("2", "No"))
    if told == "catalogue":
        resolved = MarketResolved(
            market="0xm", timestamp=START, token_ids=["1", "2"], winning_token_id="2", winning_outcome="No"
        )
        night.note(500, "resolved", resolved, 0)
    night.end(1000)

    found = outcomes(opened(night, *markets))

    assert dict(found.select("token_id", "end_date").iter_rows()) == ends
    assert found.schema["end_date"] == MARKETS["end_date"]
    assert found.filter("resolved")["source"].unique().to_list() == ([told] if told else [])


@pytest.mark.parametrize("name", ["", "evening", "updown"])
def test_ends_are_those_of_the_list_of_markets(name: str) -> None:
    folder = pm.sample(name)

    found = pm.open_recording(folder).outcomes().select("token_id", "end_date")

    listed = MarketsFile(folder).rows(read_manifest(folder)).select("token_id", "end_date")
    assert_frame_equal(found, listed, check_row_order=False)


def test_a_payload_that_is_no_resolution_is_refused() -> None:
    night = begun()
    night.frame(500, message("2", "No"))
    night.end(1000)
    rows = dict(rebuild(night.records))
    rows["market_events"] = rows["market_events"].with_columns(payload=pl.lit("{}"))
    contents = Contents(Path("nowhere"), Manifest(pmlive="", created=""), [], [rows])

    with pytest.raises(StoreError, match="is not a message of one"):
        outcomes(RecordingIndex(contents, UnsubscriptionCache(), {}))


def test_an_empty_recording_has_no_outcomes() -> None:
    night = Night()
    night.end(0)

    assert outcomes(opened(night)).height == 0


def test_the_five_minute_markets_ended_as_they_did() -> None:
    night = pm.open_recording(pm.sample("updown"))

    found = night.outcomes()

    told = night.scan("market_events").filter(pl.col("kind") == "market_resolved").collect()
    assert told.height > 10
    assert set(found.filter("winner")["token_id"]) == set(told["winning_token_id"])
    assert (found.filter("resolved").group_by("market").agg(pl.col("winner").sum())["winner"] == 1).all()
    names = dict(zip(told["market"], told["winning_outcome"], strict=True))
    assert all(names[market] == name for market, name in found.filter("winner").select("market", "outcome").iter_rows())
