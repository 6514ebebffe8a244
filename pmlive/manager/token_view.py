"""One token of a manager or of a recording, by the names that people give it: its rows, its book, a picture."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

import polars as pl

from pmlive.markets.directory import NamedMarket
from pmlive.times import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["HasTokens", "Key", "TokenRows", "TokenView", "key_parts"]

# What stands in brackets: a token id or an outcome alone, or a market and its outcome.
Key: TypeAlias = str | tuple[str, str]
# The tables that tell of one token, and the gaps that concern it.
TokenRows: TypeAlias = Literal["prices", "depth", "trades", "gaps"]
B_co = TypeVar("B_co", covariant=True)


class HasTokens(ABC):
    """What has tokens of markets, such as a manager; IPython completes what stands in its brackets."""

    @property
    @abstractmethod
    def markets(self) -> Sequence[NamedMarket]:
        """The markets that are known."""

    def _ipython_key_completions_(self) -> list[tuple[str, str]]:
        return [(market.slug, outcome) for market in self.markets for outcome in market.outcomes]


class TokenView(Generic[B_co]):
    """One token of a manager or of a recording; what it shows is as of now each time.

    Columns are those of the manager's frames of these names, whichever it is of.
    """

    def __init__(
        self,
        token_id: str,
        names: tuple[str, str],
        label: str,
        *,
        rows: Callable[[TokenRows], pl.DataFrame],
        book: Callable[[], B_co],
        end: Callable[[], int],
        simulated: Callable[[], bool],
    ) -> None:
        self.token_id = token_id
        self.slug, self.outcome = names
        self.label = label
        self._rows = rows
        self._book = book
        self._end = end
        self._simulated = simulated

    @property
    def simulated(self) -> bool:
        """Whether its venue is known to be a simulated one."""
        return self._simulated()

    @property
    def prices(self) -> pl.DataFrame:
        """The changes of the best prices (dollars a share) and of what rests there (shares)."""
        return self._rows("prices")

    @property
    def depth(self) -> pl.DataFrame:
        """The best levels, a row for each change that lasted for a tenth of a second."""
        return self._rows("depth")

    @property
    def trades(self) -> pl.DataFrame:
        """The trades, with the taker's side."""
        return self._rows("trades")

    @property
    def gaps(self) -> pl.DataFrame:
        """The intervals in which the book could not be trusted, or trades may be missing."""
        return self._rows("gaps")

    def book(self) -> B_co:
        """Return the book as it is now, or as it was at the end of the recording.

        Raises:
            BookError: the book of a manager cannot be trusted now.
        """
        return self._book()

    def plot(
        self, ax: "Axes | None" = None, *, kind: Literal["prices", "candles"] = "prices", every: Interval = "1m"
    ) -> "Axes":
        """Draw bid, ask and mid over time with trades and gaps; return the axes, which are new ones by default.

        Args:
            ax: where to draw.
            kind: ``"candles"`` draws candles of the mid instead, with the shares that were traded below.
            every: the length of a candle, such as ``"15s"``.

        Raises:
            ImportError: the extra ``pmlive[jupyter]`` is not installed.
            ValueError: ``kind`` is not one of its two words, or ``every`` is not an interval.
        """
        widgets = import_module("pmlive.widgets")
        match kind:
            case "prices":
                return widgets.plot_token(self, self._end(), ax)
            case "candles":
                return widgets.plot_candles(self, self._end(), ax, every=every)
            case _:
                raise ValueError(f"invalid kind {kind!r}; expected 'prices' or 'candles'")

    def __repr__(self) -> str:
        """Return what it is of, in one line."""
        return f"<{self.label}: token {self.token_id}>"


def key_parts(key: Key) -> tuple[str, str | None]:
    """Split what stands in brackets into a name and an outcome.

    Raises:
        TypeError: it is neither a name nor a pair of names.
    """
    match key:
        case str():
            return key, None
        case (str(), str()):
            return key
        case _:
            raise TypeError(
                f"expected a token id, or a market and an outcome such as ['will-it-rain', 'Yes']; got {key!r}"
            )
