"""Directories of markets: tokens by the names that people give them, and markets by their tokens."""

from collections.abc import Callable, Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Protocol

from pmlive.errors import UnknownMarketError

__all__ = ["Directory", "NamedMarket", "label"]

_LABEL_LENGTH = 80
# Names that an error message lists, and how many letters of one that was given.
_MOST_NAMED = 6
_NAME_LENGTH = 100


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
    question = market.question or _name(market)
    outcome = _shortened(outcome, _LABEL_LENGTH // 2)
    return f"{_shortened(question, _LABEL_LENGTH - len(outcome) - 3)} - {outcome}"


class Directory:
    """The tokens of some markets, each with its market and its outcome."""

    def __init__(self, markets: Iterable[NamedMarket]) -> None:
        self._markets = list(markets)
        self._listed = [
            (token_id, market, outcome)
            for market in self._markets
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
            if name.casefold() == wanted and (outcome is None or _is_named(market, named))
        ]

    def token(
        self,
        named: str,
        outcome: str | None = None,
        *,
        held: Callable[[str], bool],
        others: Callable[[], Iterable[str]],
        kind: str,
    ) -> str:
        """Return the one token that a name means.

        Args:
            named: a token id, an outcome such as ``"Yes"`` if only one market has it, or a market's slug or condition
                id.
            outcome: the outcome, where ``named`` is a market's slug or condition id.
            held: whether there is anything of a token.
            others: the tokens that there is something of, though no market may be known to have them.
            kind: what such tokens are called in messages, such as ``"recorded"``.

        Raises:
            UnknownMarketError: no token is meant, or several are; the message says how to name one.
        """
        if outcome is None and held(named):
            return named
        meant = self.meant(named, outcome)
        found = [token_id for token_id in meant if held(token_id)]
        if len(found) == 1:
            return found[0]
        named = named[:_NAME_LENGTH]
        problem = self._problem(named, outcome, found or meant, kind)
        if problem is None:
            problem = f"no {kind} market or token is named {named!r}; {self._advice(named, held, others)}"
        raise UnknownMarketError(problem)

    def _problem(self, named: str, outcome: str | None, meant: Sequence[str], kind: str) -> str | None:
        """Say why a known name does not mean one token, and what to say instead; None where a name is not known."""
        market = next((market for market in self._markets if _is_named(market, named)), None)
        if market is not None and not market.token_ids:
            return f"{named!r} has no tokens yet"
        if market is not None and outcome is None:
            return f"{named!r} has the outcomes {_listing(market.outcomes, 'and')}; name one as the outcome"
        if len(meant) > 1:
            first = self.tokens[meant[0]][0].slug
            return f"{len(meant)} {kind} tokens are named {named!r}; give a market and its outcome, such as {first!r}"
        if market is not None and not meant:
            wrong = (outcome or "")[:_NAME_LENGTH]
            return f"{named!r} has no outcome {wrong!r}; it has {_listing(market.outcomes, 'and')}"
        if meant:
            return f"the token of {named!r}{'' if outcome is None else f', {outcome!r}'} is known, but not {kind}"
        return None

    def _advice(self, named: str, held: Callable[[str], bool], others: Callable[[], Iterable[str]]) -> str:
        """Name what is most like a name that nothing has, or else what there is."""
        here = [(market, outcome) for token_id, market, outcome in self._listed if held(token_id)]
        names = [name for market, outcome in here for name in (market.slug, outcome) if name]
        folded = {name.casefold(): name for name in names}
        close = [folded[name] for name in get_close_matches(named.casefold(), folded, n=3)]
        if close:
            return f"did you mean {_listing(close, 'or')}?"
        pairs = [f"{_name(market)!r}, {outcome!r}" for market, outcome in here]
        known = pairs or [repr(_shortened(token_id, _NAME_LENGTH)) for token_id in others()]
        return f"there are {'; '.join(known[:_MOST_NAMED])}" if known else "there are none yet"

    def names(self) -> dict[str, tuple[str, str]]:
        """Map each token to the slug of its market and to its outcome."""
        return {token_id: (market.slug, outcome) for token_id, (market, outcome) in self.tokens.items()}


def _name(market: NamedMarket) -> str:
    return market.slug or market.condition_id


def _is_named(market: NamedMarket, named: str) -> bool:
    return named.casefold() in (market.slug.casefold(), market.condition_id.casefold())


def _listing(names: Iterable[str], word: str) -> str:
    *others, last = [repr(_shortened(name, _NAME_LENGTH)) for name in names] or ["none"]
    return f"{', '.join(others)} {word} {last}" if others else last


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"
