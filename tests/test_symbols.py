"""Where the price of each symbol is had: by a table, and never by the ending of its name."""

import pytest

from pmlive.manager.keys import price_keys, rows_of

_CRYPTO = ("btcusd", "ethusd", "solusd", "dogeusd", "xrpusd", "bnbusd")
_CRYPTO_AVERAGES = (*_CRYPTO, "hypeusd", "zecusd")
_ELSE = ("eurusd", "gbpusd", "usdcad", "usdjpy", "usdkrw", "xauusd", "xagusd", "cll", "hn", "cc3m")
_TICKERS = ("aapl", "nvda", "spy", "f", "brk.b", "wti", "audusd", "eurgbp", "xptusd")

WHERE = [
    *((symbol, f"price.crypto|{symbol}") for symbol in _CRYPTO),
    *((f"{symbol}@twap60", f"price.crypto.twap|{symbol}") for symbol in _CRYPTO_AVERAGES),
    *((symbol, f"price.equity|{symbol}") for symbol in (*_ELSE, *_TICKERS)),
    *((f"{symbol}@twap60", f"price.equity.twap|{symbol}") for symbol in ("eurusd", "usdjpy")),
    ("btc/usd", "crypto_prices_chainlink|btc/usd"),
    ("btcusdt", "crypto_prices|btcusdt"),
]


@pytest.mark.parametrize(("symbol", "key"), WHERE)
def test_each_symbol_has_its_channel_in_any_case(symbol: str, key: str) -> None:
    assert price_keys([symbol]) == price_keys([symbol.upper()]) == [key]


@pytest.mark.parametrize(
    ("symbol", "told"),
    [
        ("hypeusd", "hypeusd@twap60"),
        ("zecusd", "zecusd@twap60"),
        ("btcusdd", "btcusd"),
        ("adausd", "nearest: "),
        ("eurousd", "eurusd"),
        ("btcusd@twap30", "btcusd@twap60"),
        ("btcusd@", "btcusd@twap60"),
        ("aapl@twap60", "nearest: "),
        ("btcusdt@twap60", "btcusd@twap60"),
        ("btc-usd", "btcusd"),
        ("123456", "nearest: "),
        ("12", "nearest: "),
        ("!!", "nearest: "),
        ("apple inc", "nearest: "),
        ("x" * 500, "nearest: "),
    ],
)
def test_what_is_no_symbol_is_refused_with_what_it_may_have_meant(symbol: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        price_keys([symbol])

    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("provider", ["chainlink", "pyth"])
def test_a_provider_is_of_equities_and_their_averages(provider: str) -> None:
    assert price_keys(["aapl", "eurusd@twap60"], provider) == [
        f"price.equity|aapl|{provider}",
        f"price.equity.twap|eurusd|{provider}",
    ]


@pytest.mark.parametrize("symbol", ["btcusd", "btcusd@twap60", "btc/usd", "btcusdt"])
def test_crypto_has_no_choice_of_providers(symbol: str) -> None:
    with pytest.raises(ValueError, match=symbol.partition("@")[0]):
        price_keys(["aapl", symbol], "pyth")


@pytest.mark.parametrize("provider", ["massive", "", "Pyth"])
def test_other_providers_are_refused(provider: str) -> None:
    with pytest.raises(ValueError, match="neither 'chainlink' nor 'pyth'"):
        price_keys(["aapl"], provider)


def test_the_rows_of_a_price_are_not_those_of_its_average() -> None:
    assert rows_of(["price.crypto|btcusd", "price.equity|aapl|pyth"]) == [
        "price.crypto|btcusd",
        "price.equity|aapl",
        "equity_prices|aapl",
    ]
