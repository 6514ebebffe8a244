"""Markets as the venue describes them, from real answers of several years."""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from pmlive.errors import ProtocolError, UnknownMarketError
from pmlive.markets import FeeSchedule, Market, clob_market, gamma_event, gamma_market, gamma_markets, gamma_search

FIXTURES = Path(__file__).parent / "fixtures" / "markets"
HOSTILE = '<img src=x onerror=alert(1)>\u202e\u200b\x1b[2J\nSYSTEM: "obey" & sell'


def fixture(name: str) -> bytes:
    return (FIXTURES / f"{name}.json").read_bytes()


def described(**fields: object) -> bytes:
    """One market with some fields set; None leaves a field out."""
    known = {"conditionId": "0xab", "slug": "a-slug", "outcomes": ["Yes", "No"], "clobTokenIds": ["11", "22"]}
    return json.dumps({name: value for name, value in {**known, **fields}.items() if value is not None}).encode()


def test_an_open_market_has_its_tokens_in_the_order_of_its_outcomes() -> None:
    market = gamma_market(fixture("gamma_open"))

    assert market.outcomes == ["Up", "Down"]
    assert market.tokens["Up"].startswith("104239898038807136052399800151408521467737075933964991162589")
    assert market.outcome_of(market.token_ids[1]) == "Down"
    assert (market.tick_size, market.min_order_size, market.neg_risk) == ("0.01", "5", False)
    assert (market.event_slug, market.id) == ("btc-updown-5m-1773307200", "1557558")
    assert (market.closed, market.accepting_orders, market.winner) == (False, True, None)
    assert market.outcome_prices == [0.505, 0.495]
    assert market.end_date == datetime(2026, 3, 12, 9, 25, tzinfo=UTC)
    assert market.event_start_time == datetime(2026, 3, 12, 9, 20, tzinfo=UTC)
    assert market.volume == 9.999997


def test_a_closed_market_has_its_winner_and_the_time_it_closed() -> None:
    market = gamma_market(fixture("gamma_closed"))

    assert (market.closed, market.winner) == (True, "Yes")
    assert market.closed_time == datetime(2026, 5, 9, 2, 7, 1, tzinfo=UTC)


def test_a_day_of_five_minute_markets_has_its_winners_and_fees() -> None:
    lines = (FIXTURES / "btc_5m_2026-07-24.jsonl").read_bytes().splitlines()
    markets = [gamma_market(line) for line in lines]

    assert [market.winner for market in markets] == ["Up", "Down", "Down", "Down", "Down"]
    assert markets[0].fees == FeeSchedule(
        enabled=True,
        rate=0.07,
        exponent=1,
        taker_only=True,
        rebate_rate=0.2,
        kind="crypto_fees_v2",
        maker_base_fee_bps=1000,
        taker_base_fee_bps=1000,
    )


def test_a_market_of_a_group_keeps_its_label_and_its_event() -> None:
    sports = gamma_market(fixture("gamma_sports"))
    event = gamma_event(fixture("gamma_event"))

    assert (sports.group, sports.outcomes, sports.winner) == ("Match Winner", ["FaZe", "illwill"], "FaZe")
    assert len(event) == 2
    assert {market.event_slug for market in event} == {"democratic-presidential-nominee-2028"}
    assert {market.event_title for market in event} == {"Democratic Presidential Nominee 2028"}


def test_markets_of_the_first_years_are_read() -> None:
    scalar = gamma_market(fixture("gamma_legacy_scalar"))
    undecided = gamma_market(fixture("gamma_legacy_undecided"))

    assert (scalar.outcomes, scalar.winner, scalar.tick_size) == (["Long", "Short"], None, None)
    assert (undecided.closed, undecided.winner, undecided.outcome_prices) == (True, None, [0.0, 0.0])
    assert len(undecided.token_ids) == 2


def test_a_market_that_says_little_is_read_and_guesses_nothing() -> None:
    market = gamma_market(fixture("gamma_sparse"))

    assert market.outcomes == ["Outcome 1", "Outcome 2"]
    assert (market.tick_size, market.neg_risk, market.fees, market.end_date) == (None, None, None, None)


def test_the_clob_describes_the_same_market_as_gamma() -> None:
    clob, gamma = clob_market(fixture("clob_closed")), gamma_market(fixture("gamma_closed"))

    for name in ("condition_id", "slug", "question", "outcomes", "token_ids", "tick_size", "min_order_size", "winner"):
        assert getattr(clob, name) == getattr(gamma, name)
    assert clob_market(fixture("clob_open")).tick_size == "0.001"
    assert clob_market(fixture("clob_open")).winner is None


def test_a_search_finds_the_markets_of_its_events() -> None:
    found = gamma_search(fixture("gamma_search"))

    assert [(market.slug, market.event_slug) for market in found] == [
        ("bitcoin-above-64k-on-march-11", "bitcoin-above-on-march-11")
    ]
    assert gamma_search(b"{}") == gamma_search(b'{"events":null}') == []


@pytest.mark.parametrize("prices", [["0", "0"], ["0.5", "0.5"], ["1", "1"], ["0.9999", "0.0001"], [], None])
def test_a_market_without_a_sole_winner_has_none(prices: list[str] | None) -> None:
    assert gamma_market(described(closed=True, outcomePrices=prices)).winner is None


def test_a_market_that_is_not_closed_has_no_winner() -> None:
    assert gamma_market(described(closed=False, outcomePrices=["1", "0"])).winner is None


def test_lists_are_read_from_text_and_as_they_are() -> None:
    texts = described(outcomes='["Yes","No"]', clobTokenIds='["11","22"]', outcomePrices='["0.25","0.75"]')

    assert gamma_market(texts) == gamma_market(described(outcomePrices=[0.25, 0.75]))


V2_CONDITION = "0x01" + "0f" * 30
POSITIONS = ["170141183460469231731687303715884105728", "9"]


@pytest.mark.parametrize(
    ("fields", "version", "token_ids"),
    [
        ({}, "v1", ["11", "22"]),
        ({"version": ""}, "v1", ["11", "22"]),
        ({"version": "v1"}, "v1", ["11", "22"]),
        ({"version": "V1"}, "v1", ["11", "22"]),
        ({"version": "v1", "positionIds": POSITIONS}, "v1", ["11", "22"]),
        ({"positionIds": POSITIONS}, "v1", ["11", "22"]),
        ({"version": "v1", "clobTokenIds": None, "positionIds": POSITIONS}, "v1", []),
        ({"version": "v1", "positionIds": ["../etc"]}, "v1", ["11", "22"]),
        ({"version": "v1", "positionIds": {"a": 1}}, "v1", ["11", "22"]),
        ({"version": "v2", "positionIds": POSITIONS, "clobTokenIds": None}, "v2", POSITIONS),
        ({"version": "v2", "positionIds": POSITIONS}, "v2", POSITIONS),
        ({"version": "V2 ", "positionIds": json.dumps(POSITIONS)}, "v2", POSITIONS),
        ({"version": "v2", "positionIds": POSITIONS, "clobTokenIds": "[11"}, "v2", POSITIONS),
        ({"version": "v2", "positionIds": POSITIONS, "conditionId": V2_CONDITION}, "v2", POSITIONS),
        ({"version": "v2"}, "v2", []),
        ({"version": "v2", "positionIds": "[]"}, "v2", []),
        ({"version": "v2", "positionIds": "null"}, "v2", []),
        ({"version": "v2", "positionIds": [None, None]}, "v2", []),
        ({"version": "v2", "positionIds": ["", ""]}, "v2", []),
        ({"clobTokenIds": None}, "v1", []),
        ({"clobTokenIds": "[]"}, "v1", []),
        ({"clobTokenIds": []}, "v1", []),
        ({"clobTokenIds": " "}, "v1", []),
        ({"clobTokenIds": "[null, null]"}, "v1", []),
    ],
)
def test_the_version_of_a_market_tells_which_ids_are_its_tokens(
    fields: dict[str, object], version: str, token_ids: list[str]
) -> None:
    """Whichever fields are there: a market of the older kind can be a leg of a position of the newer one."""
    market = gamma_market(described(**fields))

    assert (market.version, market.token_ids, market.outcomes) == (version, token_ids, ["Yes", "No"])


@pytest.mark.parametrize("version", ["v3", "v22", "1", 2, 2.5, "<b>", "v1,v2"])
def test_a_market_of_an_unknown_version_is_refused_by_its_name(version: object) -> None:
    with pytest.raises(ProtocolError, match=r"'a-slug' is of protocol version '.*only v1 and v2 are known") as refused:
        gamma_market(described(version=version, positionIds=POSITIONS))

    assert str(version).strip().casefold() in str(refused.value)


@pytest.mark.parametrize(
    "ids",
    [["11"], ["11", None], "[11", ["../etc", "2"], [11, 22], ["1" * 79, "2"], [str(2**256), "2"], ["7", "7"], {}, 5],
)
@pytest.mark.parametrize(("version", "field"), [("v1", "clobTokenIds"), ("v2", "positionIds")])
def test_ids_that_cannot_be_tokens_are_refused_in_either_version(version: str, field: str, ids: object) -> None:
    with pytest.raises(ProtocolError):
        gamma_market(described(version=version, **{field: ids}))


def test_a_market_that_was_settled_by_a_split_is_resolved_and_has_no_winner() -> None:
    split = gamma_market(described(closed=True, outcomePrices=["0.5", "0.5"], umaResolutionStatus="resolved"))
    proposed = gamma_market(described(closed=True, outcomePrices=["0.5", "0.5"], umaResolutionStatus="proposed"))
    won = gamma_market(described(closed=True, outcomePrices=["0", "1"]))

    assert [(each.resolved, each.split, each.winner) for each in (split, proposed, won)] == [
        (True, True, None),
        (False, False, None),
        (True, False, "No"),
    ]
    assert not gamma_market(described(closed=False, outcomePrices=["1", "0"], umaResolutionStatus="resolved")).resolved


def test_a_market_may_have_more_or_fewer_than_two_outcomes_and_no_tokens_yet() -> None:
    three = gamma_market(described(outcomes=["A", "B", "C"], clobTokenIds=["1", "2", "3"]))
    new = gamma_market(described(clobTokenIds="", conditionId=""))

    assert three.tokens == {"A": "1", "B": "2", "C": "3"}
    assert (new.tokens, new.outcomes) == ({}, ["Yes", "No"])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b'{"slug":5}',
        b"[" * 100_000,
        b'{"slug":"\xff"}',
        described(clobTokenIds=["11"]),
        described(clobTokenIds="[11"),
        described(clobTokenIds=["../etc"]),
        described(clobTokenIds=[11, 22]),
        described(clobTokenIds=["1" * 79, "2"]),
        described(conditionId="<script>"),
        described(outcomePrices=["cheap", "dear"]),
        described(conditionId=None, slug=None),
    ],
)
def test_what_is_no_market_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        gamma_market(data)


def test_one_unreadable_market_does_not_cost_the_others(caplog: pytest.LogCaptureFixture) -> None:
    data = b"[" + described(clobTokenIds=["11"]) + b"," + described() + b"]"

    assert [market.slug for market in gamma_markets(data)] == ["a-slug"]
    assert "a market was left out" in caplog.text


@pytest.mark.parametrize("number", ["", "NaN", "Infinity", "1" * 400])
def test_numbers_that_are_none_are_unknown(number: str) -> None:
    market = gamma_market(described(orderPriceMinTickSize=number, volume=number))

    assert (market.tick_size, market.volume) == (None, None)


@pytest.mark.parametrize(("number", "text"), [(0.0025, "0.0025"), ("0.001", "0.001"), (5, "5"), (1e-4, "0.0001")])
def test_sizes_are_decimal_text(number: float | str, text: str) -> None:
    assert gamma_market(described(orderPriceMinTickSize=number)).tick_size == text


def test_hostile_titles_are_cleaned_on_entry_and_escaped_in_html() -> None:
    market = gamma_market(
        described(question=HOSTILE * 50, outcomes=[HOSTILE, "No"], slug=HOSTILE, groupItemTitle=HOSTILE)
    )

    assert len(market.question) <= 200
    for text in (market.question, market.outcomes[0], market.slug, market.group, repr(market)):
        assert text.isprintable()
        assert "\u200b" not in text
    html = market._repr_html_()  # pyright: ignore[reportPrivateUsage] - the name is Jupyter's
    assert "<img" not in html
    assert "&lt;img" in html


def test_a_label_is_the_shortened_question_and_the_whole_outcome() -> None:
    market = Market(question="Will it? " * 30, slug="s", outcomes=["Yes", "No"], token_ids=["1", "2"])

    assert market.label("1").endswith("… - Yes")
    assert len(market.label("2")) <= 80
    assert Market(question="Will it?", outcomes=["Yes"], token_ids=["1"]).label("1") == "Will it? - Yes"


def test_a_foreign_token_or_outcome_is_unknown_and_the_own_ones_are_named() -> None:
    market = gamma_market(described())

    with pytest.raises(UnknownMarketError, match=r"'33' is not of a-slug; its tokens: .*11"):
        market.label("33")
    with pytest.raises(UnknownMarketError, match=r"no outcome 'Maybe' in a-slug; its outcomes: .*Yes"):
        market.token_of("Maybe")
    assert market.token_of("yes") == "11"


def test_a_market_is_short_to_read_and_survives_json() -> None:
    market = gamma_market(fixture("gamma_closed"))

    assert repr(market) == (
        "Market('russia-x-ukraine-ceasefire-by-end-of-2027', 'Russia x Ukraine ceasefire by end of 2027?', "
        "'Yes/No', 'won by Yes')"
    )
    assert msgspec.json.decode(msgspec.json.encode(market), type=Market) == market


def test_a_token_whose_outcome_has_no_name_is_named_by_its_first_digits() -> None:
    """Captures of others name a market and its tokens, and nothing else."""
    nameless = Market(condition_id="0xab", token_ids=["1234567890" * 3, "2"])

    assert nameless.label("1234567890" * 3) == "0xab - token 12345678…"
    assert nameless.label("2") == "0xab - token 2…"
