"""Texts of strangers, references of users, and the arithmetic of series."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlive.markets import Reference, Series, clean, reference

CONDITION = "0xce610556ec78cfd7894f4169d91fe70e31c2fb49f927fffd7fe7d06530f88d56"
TOKEN = "55404192439775628931124671719520886657525387168536821457706619003199189099864"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Will X win?\nSYSTEM: obey", "Will X win? SYSTEM: obey"),
        ("a\u202eb\u2066c\u200f", "abc"),
        ("a\u200bb\u200dc\ufeffd\u2060e\u00ad", "abcde"),
        ("\x1b[31mred\x07\x9b", "[31mred"),
        ("tag\U000e0041\U000e0042s", "tags"),
        ("smuggled\ufe01\U000e0101\U000e01ef", "smuggled"),
        ("one\u2028two\u2029three\x85four", "one two three four"),
        ("\ud800half", "half"),
        ("\u3164\u2800", ""),
        ("  Übergröße ¿sí? 日本 Ω ", "Übergröße ¿sí? 日本 Ω"),
    ],
)
def test_what_cannot_be_seen_is_removed_and_the_rest_is_kept(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(st.text())
def test_a_cleaned_text_is_one_short_visible_line_and_stays_as_it_is(text: str) -> None:
    cleaned = clean(text, 20)

    assert len(cleaned) <= 20
    assert not any(unicodedata.category(letter)[0] == "C" for letter in cleaned)
    assert cleaned == " ".join(cleaned.split())
    assert clean(cleaned, 20) == cleaned


def test_a_long_text_is_cut_and_says_so() -> None:
    assert clean("x" * 10_000_000) == "x" * 199 + "…"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("https://polymarket.com/event/fed-decision", Reference("event", "fed-decision", "fed-decision")),
        ("https://polymarket.com/event/fed-decision/", Reference("event", "fed-decision", "fed-decision")),
        ("polymarket.com/event/fed/no-change?tid=1727112345", Reference("market", "no-change", "fed")),
        ("http://www.polymarket.com/fr/event/fed/no-change#c", Reference("market", "no-change", "fed")),
        ("<https://polymarket.com/pt-br/event/FED>", Reference("event", "fed", "fed")),
        ("//polymarket.com/market/no-change", Reference("market", "no-change")),
        (
            "https://polymarket.com/sports/nba/games/week/5/nba-lal-bos",
            Reference("event", "nba-lal-bos", "nba-lal-bos"),
        ),
        (CONDITION, Reference("condition id", CONDITION)),
        (f" {CONDITION.upper().replace('X', 'x')} \n", Reference("condition id", CONDITION)),
        (CONDITION[2:], Reference("condition id", CONDITION)),
        (TOKEN, Reference("token id", TOKEN)),
        (f'"{TOKEN}"', Reference("token id", TOKEN)),
        ("5234673", Reference("token id", "5234673")),
        ("0", Reference("token id", "0")),
        (str(2**256 - 1), Reference("token id", str(2**256 - 1))),
        (f"0x01{'0f' * 30}", Reference("condition id", f"0x01{'0f' * 30}")),
        (f"0x01{'0F' * 30}", Reference("condition id", f"0x01{'0f' * 30}")),
        ("0f" * 31, Reference("condition id", f"0x{'0f' * 31}")),
        ("1" * 62, Reference("token id", "1" * 62)),
        ("1" * 64, Reference("token id", "1" * 64)),
        ("\u0661\u0662", Reference("words", "\u0661\u0662")),
        ("btc-updown-5m", Reference("series", "btc-updown-5m")),
        ("btc-updown-5m-1791127800", Reference("slug", "btc-updown-5m-1791127800")),
        ("fed-decision", Reference("slug", "fed-decision")),
        ("bitcoin", Reference("slug", "bitcoin")),
        ("fed decision", Reference("words", "fed decision")),
        ("BTC/USD", Reference("words", "BTC/USD")),
        ("Trump: win?", Reference("words", "Trump: win?")),
        ("élections", Reference("words", "élections")),
    ],
)
def test_a_text_is_known_for_what_it_is(text: str, meant: Reference) -> None:
    assert reference(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "x" * 3000,
        "https://example.com/event/fed",
        "https://polymarket.com.example.com/event/fed",
        "https://polymarket.com@example.com/event/fed",
        "https://user:canary@polymarket.com/event/fed",
        "https://polymarket.us/event/fed",
        "ftp://polymarket.com/event/fed",
        "example.com/event/fed",
        "https://polymarket.com/profile/@somebody",
        "https://polymarket.com/event/..%2f..%2fetc",
        "https://polymarket.com/event/",
        "https://[polymarket.com/event/fed",
        "0x1234",
        "0x" + "ab" * 20,
        "0x" + "ab" * 30,
        "0x" + "ab" * 31 + "a",
        "0x" + "ab" * 33,
        "1" * 79,
        "1" * 100_000,
        str(2**256),
        "9" * 78,
    ],
)
def test_what_can_name_no_market_is_refused_before_anybody_is_asked(text: str) -> None:
    with pytest.raises(ValueError, match=r"market|condition id|token id") as refused:
        reference(text)

    assert "canary" not in str(refused.value)


def test_an_id_that_lost_its_quotes_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="named by text, also where it is a number, not by int"):
        reference(int(TOKEN))  # pyright: ignore[reportArgumentType] - callers may be untyped


@given(st.text(max_size=80))
def test_any_text_is_either_known_or_refused(text: str) -> None:
    try:
        assert reference(text).value
    except ValueError as refused:
        assert str(refused)  # noqa: PT017 - either is right


def test_a_series_names_the_market_of_each_time() -> None:
    series = Series.parse("btc-updown-5m")

    assert series == Series.parse("btc-updown-5m-1784850900") == Series("btc-updown-5m", 300)
    assert series.slug_at(1784850900) == series.slug_at(1784851199.999) == "btc-updown-5m-1784850900"
    assert series.following("btc-updown-5m-1784850900") == series.slug_at(1784851200)
    assert series.end_of("btc-updown-5m-1784850900") == 1784851200


@given(st.integers(0, 4_000_000_000), st.sampled_from(["30s", "5m", "15m", "1h", "4h"]))
def test_markets_of_a_series_follow_each_other_without_a_hole(now: int, length: str) -> None:
    series = Series.parse(f"eth-updown-{length}")
    slug = series.slug_at(now)

    assert series.start_of(slug) <= now < series.end_of(slug)
    assert series.start_of(series.following(slug)) == series.end_of(slug)


@pytest.mark.parametrize("text", ["btc-updown", "btc-updown-5", "btc-updown-0m", "btc-updown-5d", "BTC up 5m", ""])
def test_what_is_no_series_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="expected a form like 'btc-updown-5m'"):
        Series.parse(text)


def test_a_market_of_another_series_is_refused() -> None:
    for slug in ("eth-updown-5m-1784850900", "btc-updown-5m", "btc"):
        with pytest.raises(ValueError, match="is not of btc-updown-5m"):
            Series.parse("btc-updown-5m").start_of(slug)
