"""Tokens with the markets that they belong to, as answers name them."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from pmlive.mcp.safety import Row, safe_row

__all__ = ["Directory", "NamedMarket"]


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


class Directory:
    """Names of tokens."""

    def __init__(self, markets: Iterable[NamedMarket]) -> None:
        self._known: dict[str, tuple[NamedMarket, str]] = {
            token_id: (market, outcome)
            for market in markets
            for outcome, token_id in zip(market.outcomes, market.token_ids, strict=False)
        }

    def token(self, token_id: str) -> Row:
        """Name a token, by its id alone where nothing is known of it."""
        row: Row = {"token_id": token_id}
        if token_id in self._known:
            market, outcome = self._known[token_id]
            row |= {"condition_id": market.condition_id, "untrusted_question": market.question}
            row["untrusted_outcome"] = outcome
        return safe_row(row)

    def condition(self, token_id: str) -> str:
        """Return the condition id of a token's market, or nothing."""
        return self._known[token_id][0].condition_id if token_id in self._known else ""

    def label(self, token_id: str) -> str:
        """Return the question and the outcome in one text, a stranger's."""
        row = self.token(token_id)
        return f"{row.get('untrusted_question', '')} - {row.get('untrusted_outcome', '')}".strip(" -")

    def find(self, named: str, outcome: str | None) -> str:
        """Return the token that an id, an outcome alone, or a market and an outcome mean, or nothing."""
        if named in self._known:
            return named
        meant = [token_id for token_id, known in self._known.items() if _means(named, outcome, *known)]
        return meant[0] if len(meant) == 1 else ""

    def of(self, condition_ids: Sequence[str]) -> list[str]:
        """List the tokens of markets."""
        wanted = set(condition_ids)
        return [token_id for token_id, (market, _) in self._known.items() if market.condition_id in wanted]


def _means(named: str, outcome: str | None, market: NamedMarket, its: str) -> bool:
    if outcome is None:
        return named.casefold() == its.casefold()
    return named in (market.slug, market.condition_id) and outcome.casefold() == its.casefold()
