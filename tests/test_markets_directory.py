"""Tokens by the names that people give them, which is one rule for live books, recordings and MCP clients."""

from pmlive import Market
from pmlive.markets.directory import Directory

_RAIN = Market(condition_id="0xa", slug="rain", question="Rain?", outcomes=["Yes", "No"], token_ids=["1", "2"])
_RACE = Market(condition_id="0xb", slug="race", question="Who wins?", outcomes=["Ann", "No"], token_ids=["3", "4"])
_SOON = Market(condition_id="0xc", slug="soon", question="Soon?", outcomes=["Yes", "No"])

_directory = Directory([_RAIN, _RACE, _SOON])


def test_an_outcome_alone_means_every_token_of_that_name_in_any_case() -> None:
    assert _directory.meant("ann") == ["3"]
    assert _directory.meant("No") == ["2", "4"]
    assert _directory.meant("rain") == []


def test_a_slug_or_a_condition_id_means_the_token_of_the_outcome() -> None:
    assert _directory.meant("rain", "no") == ["2"]
    assert _directory.meant("0xb", "No") == ["4"]
    assert _directory.meant("rain", "Ann") == []
    assert _directory.meant("soon", "Yes") == []


def test_tokens_have_their_market_and_markets_their_tokens() -> None:
    assert _directory.tokens["3"] == (_RACE, "Ann")
    assert _directory.of(["0xb", "0xc"]) == ["3", "4"]
