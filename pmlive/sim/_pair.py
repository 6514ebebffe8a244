"""The order book of one binary market, both outcomes at once.

To sell one outcome at a price is to buy the other at the complement, so a market has two queues of buyers and nothing
else: an outcome's bids are its own buyers, its asks are the other outcome's buyers seen from this side.
"""

from bisect import bisect_left

from pmlive.sim._text import ONE, price_text, size_text

__all__ = ["Buyers", "PairBook"]


class Buyers:
    """Who wants one outcome: prices ascending, so that the best is last in both outcomes' wire order."""

    __slots__ = ("asks", "bids", "prices", "sizes")

    def __init__(self) -> None:
        self.prices: list[int] = []
        self.sizes: list[int] = []
        # The level as a bid for this outcome, and as an ask for the other.
        self.bids: list[str] = []
        self.asks: list[str] = []

    @property
    def best(self) -> int:
        """Give the highest price, 0 when nobody buys."""
        return self.prices[-1] if self.prices else 0

    def size_at(self, price: int) -> int:
        """Give the total size at one price."""
        at = bisect_left(self.prices, price)
        return self.sizes[at] if at < len(self.prices) and self.prices[at] == price else 0

    def put(self, price: int, size: int) -> None:
        """Set the total at one price, 0 removing it."""
        at = bisect_left(self.prices, price)
        known = at < len(self.prices) and self.prices[at] == price
        keep = slice(at, at + known)
        bid, ask = _level(price, size), _level(ONE - price, size)
        self.prices[keep] = [price] if size else []
        self.sizes[keep] = [size] if size else []
        self.bids[keep] = [bid] if size else []
        self.asks[keep] = [ask] if size else []


class PairBook:
    """Two queues of buyers, which never reach a dollar together.

    >>> book = PairBook()
    >>> book.buyers[0].put(4800, 30_000_000)
    >>> book.best_bid(0), book.best_ask(0), book.best_bid(1), book.best_ask(1)
    (4800, 10000, 0, 5200)
    >>> book.asks(1)
    ['{"price":"0.52","size":"30"}']
    """

    __slots__ = ("buyers",)

    def __init__(self) -> None:
        self.buyers = (Buyers(), Buyers())

    def bids(self, outcome: int) -> list[str]:
        """List the levels' text, best last."""
        return self.buyers[outcome].bids

    def asks(self, outcome: int) -> list[str]:
        """List the levels' text, best last."""
        return self.buyers[1 - outcome].asks

    def best_bid(self, outcome: int) -> int:
        """Give the best bid, 0 when there is none."""
        return self.buyers[outcome].best

    def best_ask(self, outcome: int) -> int:
        """Give the best ask, ``ONE`` when there is none."""
        return ONE - self.buyers[1 - outcome].best


def _level(price: int, size: int) -> str:
    return f'{{"price":"{price_text(price)}","size":"{size_text(size)}"}}'
