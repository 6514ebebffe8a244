"""Exact decimal text, from integers, as the venue writes it."""

__all__ = ["ONE", "SHARE", "price_text", "size_text", "trade_price_text"]

# Prices are counted in ten-thousandths of a dollar, which every tick size of the venue divides, and sizes in millionths
# of a share: nothing is ever rounded.
ONE = 10_000
SHARE = 1_000_000


def price_text(price: int) -> str:
    """Write a price without padding.

    >>> price_text(1000), price_text(9985), price_text(0), price_text(ONE)
    ('0.1', '0.9985', '0', '1')
    """
    return _PRICES[price]


def trade_price_text(price: int) -> str:
    """Write a price as ``last_trade_price`` has it, with three decimals at least.

    >>> trade_price_text(1100), trade_price_text(25), trade_price_text(ONE)
    ('0.110', '0.0025', '1.000')
    """
    whole, rest = divmod(price, ONE)
    decimals = f"{rest:04d}"
    return f"{whole}.{decimals.removesuffix('0') if decimals.endswith('0') else decimals}"


def size_text(size: int) -> str:
    """Write a size without padding.

    >>> size_text(219_217_767), size_text(30 * SHARE), size_text(500_000), size_text(0)
    ('219.217767', '30', '0.5', '0')
    """
    whole, rest = divmod(size, SHARE)
    return f"{whole}.{rest:06d}".rstrip("0") if rest else str(whole)


def _unpadded(price: int) -> str:
    return f"0.{price:04d}".rstrip("0")


_PRICES = ("0", *(_unpadded(price) for price in range(1, ONE)), "1")
