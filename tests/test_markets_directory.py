"""Tokens by the names that people give them, which is one rule for live books, recordings and MCP clients."""

import pytest

from pmlive import Market
from pmlive.errors import UnknownMarketError
from pmlive.markets.market import Directory

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


def one(named: str, outcome: str | None = None, *, held: str = "1234") -> str:
    return _directory.token(named, outcome, held=lambda each: each in held, others=lambda: "9" + held, kind="recorded")


def test_one_token_goes_by_its_id_by_an_outcome_that_only_one_has_and_by_its_market() -> None:
    assert one("3") == "3"
    assert one("ann") == "3"
    assert one("RAIN", "yes") == "1"
    assert one("0xA", "No") == "2"
    assert one("No", held="23") == "2"


@pytest.mark.parametrize(
    ("named", "outcome", "problem"),
    [
        ("rain", None, "'rain' has the outcomes 'Yes' and 'No'; name one as the outcome"),
        ("0xb", None, "'0xb' has the outcomes 'Ann' and 'No'; name one as the outcome"),
        ("No", None, "2 recorded tokens are named 'No'; give a market and its outcome, such as 'rain'"),
        ("rain", "Maybe", "'rain' has no outcome 'Maybe'; it has 'Yes' and 'No'"),
        ("soon", "Yes", "'soon' has no tokens yet"),
        ("rian", None, "no recorded market or token is named 'rian'; did you mean 'rain'?"),
        ("Any", "No", "no recorded market or token is named 'Any'; did you mean 'Ann'?"),
        ("xyz", None, "no recorded market or token is named 'xyz'; there are 'rain', 'Yes'; 'rain', 'No'; "),
    ],
)
def test_what_names_no_one_token_is_answered_with_how_to_name_one(
    named: str, outcome: str | None, problem: str
) -> None:
    with pytest.raises(UnknownMarketError) as told:
        one(named, outcome)

    assert str(told.value).startswith(problem)


def test_tokens_without_a_market_are_listed_by_their_ids_and_none_is_told_as_well() -> None:
    nameless = Directory([])

    with pytest.raises(UnknownMarketError, match="no watched market or token is named 'x'; there are '7'; '8'"):
        nameless.token("x", held=lambda _: False, others=lambda: ["7", "8"], kind="watched")
    with pytest.raises(UnknownMarketError, match="there are none yet"):
        nameless.token("x", held=lambda _: False, others=list, kind="watched")


def test_a_token_of_which_there_is_nothing_is_told_as_known() -> None:
    with pytest.raises(UnknownMarketError, match="the token of 'rain', 'No' is known, but not recorded"):
        one("rain", "No", held="1")
