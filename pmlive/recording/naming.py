"""Tokens by the names that people give them."""

from collections.abc import Callable, Iterable, Sequence

from pmlive.errors import UnknownMarketError
from pmlive.markets import clean
from pmlive.markets.directory import Directory
from pmlive.recording.summary import RecordedMarket

__all__ = ["Names"]

_NAMED = 6
_LABEL_LENGTH = 60


class Names:
    """The tokens of a recording; ``others`` lists those that no market of the manifest has."""

    def __init__(self, markets: Sequence[RecordedMarket], others: Callable[[], Iterable[str]]) -> None:
        self._directory = Directory(markets)
        self._others = others
        self.labels = {
            token_id: f"{_shortened(market.question or market.slug or market.condition_id)} - {outcome}"
            for token_id, (market, outcome) in self._directory.tokens.items()
        }
        self.market_of = {token_id: market for market in markets for token_id in market.token_ids}

    def label(self, token_id: str) -> str:
        """Name a token for people."""
        return self.labels.get(token_id) or f"token {clean(token_id, 80)}"

    def token(self, named: str, outcome: str | None = None) -> str:
        """Find the token that is meant.

        Args:
            named: a token id, an outcome such as ``"Yes"`` if only one recorded market has it, or a market's slug or
                condition id.
            outcome: the outcome, where ``named`` is a market's slug or condition id.

        Raises:
            UnknownMarketError: none is meant, or several are; the message lists some.
        """
        if outcome is None and named in self.labels:
            return named
        meant = self._directory.meant(named, outcome)
        if len(meant) == 1:
            return meant[0]
        if not meant and outcome is None and named in set(self._others()):
            return named
        known = [f"{label} = {token_id}" for token_id, label in self.labels.items()] or list(self._others())
        problem = f"{len(meant)} recorded tokens are" if meant else "no recorded token is"
        wanted = repr(named[:100]) if outcome is None else f"{named[:100]!r}, {outcome[:60]!r}"
        listed = "; ".join(known[:_NAMED]) or "none yet"
        raise UnknownMarketError(f"{problem} meant by {wanted}; name one by its id, such as {listed}")


def _shortened(text: str) -> str:
    return text if len(text) <= _LABEL_LENGTH else f"{text[: _LABEL_LENGTH - 1].rstrip()}…"
