"""Directories of markets: tokens by the names that people give them, and markets by their tokens."""

from collections.abc import Collection, Iterable
from typing import Protocol

__all__ = ["Directory", "label"]

_LABEL_LENGTH = 80


class NamedMarket(Protocol):
    """A market of the catalogue or of a recording; its texts are strangers'."""

    @property
    def condition_id(self) -> str:
        """The condition id."""
        ...

    @property
    def slug(self) -> str:
        """The slug."""
        ...

    @property
    def question(self) -> str:
        """The question."""
        ...

    @property
    def outcomes(self) -> list[str]:
        """The outcomes."""
        ...

    @property
    def token_ids(self) -> list[str]:
        """The tokens, in the order of the outcomes."""
        ...


def label(market: NamedMarket, outcome: str) -> str:
    """Return the name of a token for a chart or a table: the question, shortened if necessary, and the outcome."""
    question = market.question or market.slug or market.condition_id
    outcome = _shortened(outcome, _LABEL_LENGTH // 2)
    return f"{_shortened(question, _LABEL_LENGTH - len(outcome) - 3)} - {outcome}"


class Directory:
    """The tokens of some markets, each with its market and its outcome."""

    def __init__(self, markets: Iterable[NamedMarket]) -> None:
        self._listed = [
            (token_id, market, outcome)
            for market in markets
            for outcome, token_id in zip(market.outcomes, market.token_ids, strict=False)
        ]
        self.tokens = {token_id: (market, outcome) for token_id, market, outcome in self._listed}

    def of(self, condition_ids: Collection[str]) -> list[str]:
        """List the tokens of markets."""
        return [token_id for token_id, (market, _) in self.tokens.items() if market.condition_id in condition_ids]

    def meant(self, named: str, outcome: str | None = None) -> list[str]:
        """List the tokens that an outcome alone means, or a market's slug or condition id and an outcome."""
        wanted = (named if outcome is None else outcome).casefold()
        return [
            token_id
            for token_id, market, name in self._listed
            if name.casefold() == wanted and (outcome is None or named in (market.slug, market.condition_id))
        ]


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"
