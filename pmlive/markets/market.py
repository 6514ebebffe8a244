"""Markets (a question, its outcomes and their tokens), the directory of their names, and the cleaning of texts."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from difflib import get_close_matches
from html import escape
from typing import Protocol

import msgspec

from pmlive.errors import UnknownMarketError

__all__ = [
    "Directory",
    "FeeSchedule",
    "Found",
    "Market",
    "NamedMarket",
    "Unreadable",
    "clean",
    "described",
    "label",
    "tradable",
]

_REPR_LENGTH = 60
_DIGITS = 8
# The fields of a market that the manifest of a recording has.
_DESCRIBED = (
    "condition_id",
    "slug",
    "event_slug",
    "question",
    "outcomes",
    "token_ids",
    "version",
    "tick_size",
    "min_order_size",
    "neg_risk",
    "neg_risk_augmented",
    "end_date",
    "fees",
)
_NAMED = 10
# Controls, formats (bidirectional, zero-width, tags), surrogates, private use, line and paragraph separators.
_REMOVED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Variation selectors and fillers, which carry or show nothing although their category says otherwise.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


class FeeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """What takers pay, ``shares * rate * (price * (1 - price)) ** exponent``, and the part that makers get back.

    ``rate`` and ``exponent`` are None where the venue names none, as it did before July 2026.
    """

    enabled: bool = False
    rate: float | None = None
    exponent: float | None = None
    taker_only: bool = True
    rebate_rate: float | None = None
    kind: str = ""
    maker_base_fee_bps: float | None = None
    taker_base_fee_bps: float | None = None


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """One market as the venue's catalogue described it when it was asked.

    ``token_ids`` and ``outcome_prices`` are in the order of ``outcomes``. A market that was just created may have no
    tokens yet. Texts are cleaned, and still untrusted. Tick and order sizes are the venue's decimal text; prices are
    dollars per share. The event of a market that is ``neg_risk_augmented`` may get outcomes that it does not name yet.
    ``winner`` is an outcome, or None while there is none yet or where the venue settled by a split (``split``).
    ``version`` is that of the venue's protocol, by which the tokens were chosen.
    """

    condition_id: str = ""
    slug: str = ""
    question: str = ""
    outcomes: list[str] = []
    token_ids: list[str] = []
    version: str = "v1"
    id: str = ""
    event_slug: str = ""
    event_title: str = ""
    group: str = ""
    tick_size: str | None = None
    min_order_size: str | None = None
    neg_risk: bool | None = None
    neg_risk_augmented: bool | None = None
    fees: FeeSchedule | None = None
    active: bool = True
    closed: bool = False
    accepting_orders: bool = False
    start_date: datetime | None = None
    event_start_time: datetime | None = None
    end_date: datetime | None = None
    closed_time: datetime | None = None
    outcome_prices: list[float] = []
    winner: str | None = None
    split: bool = False
    volume: float | None = None
    liquidity: float | None = None

    @property
    def tokens(self) -> dict[str, str]:
        """Map each outcome to its token."""
        return dict(zip(self.outcomes, self.token_ids, strict=False))

    @property
    def resolved(self) -> bool:
        """Whether the venue settled the market."""
        return self.closed and (self.winner is not None or self.split)

    def outcome_of(self, token_id: str) -> str:
        """Return the outcome that a token stands for, or the token by its first digits where outcomes have no names.

        Raises:
            UnknownMarketError: the token is not of this market.
        """
        if token_id not in self.token_ids:
            raise UnknownMarketError(f"token {token_id[:100]!r} is not of {self._name}; its tokens: {self.token_ids}")
        named = dict(zip(self.token_ids, self.outcomes, strict=False))
        return named.get(token_id, f"token {token_id[:_DIGITS]}…")

    def token_of(self, outcome: str) -> str:
        """Return the token of an outcome, ignoring the case of its name.

        Raises:
            UnknownMarketError: the market has no such outcome, or no tokens yet.
        """
        for name, token_id in self.tokens.items():
            if name.casefold() == outcome.casefold():
                return token_id
        raise UnknownMarketError(f"no outcome {outcome[:100]!r} in {self._name}; its outcomes: {list(self.tokens)}")

    def label(self, token_id: str) -> str:
        """Return the name of a token for a chart or a table: the question, shortened if necessary, and the outcome.

        Raises:
            UnknownMarketError: the token is not of this market.
        """
        return label(self, self.outcome_of(token_id))

    @property
    def _name(self) -> str:
        return self.slug or self.condition_id

    @property
    def _state(self) -> str:
        if self.winner is not None:
            return f"won by {self.winner}"
        return "closed" if self.closed else "open"

    def __repr__(self) -> str:
        """Show slug, question, outcomes and state in one line."""
        question = _shortened(self.question, _REPR_LENGTH)
        return f"Market({self._name!r}, {question!r}, {'/'.join(self.outcomes)!r}, {self._state!r})"

    def _repr_html_(self) -> str:
        lines = [("slug", self.slug), ("condition id", self.condition_id), ("state", self._state)]
        lines += [(f"token of {outcome}", token_id) for outcome, token_id in self.tokens.items()]
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in lines)
        return f"<table><caption>{escape(self.question)}</caption>{rows}</table>"


class Unreadable(msgspec.Struct, frozen=True):
    """A market whose description in the catalogue is not understood: its slug, the reason, and the description."""

    slug: str
    reason: str
    text: bytes

    def names(self, market_id: str) -> bool:
        """Check whether an id occurs in the description."""
        # Lists of ids may be text inside of text, whose quotation marks are escaped.
        return re.search(rb'"%s\\?"' % re.escape(market_id.encode()), self.text, re.IGNORECASE) is not None


class Found(msgspec.Struct, frozen=True):
    """The markets that a text means, and why others that it also means were left out."""

    text: str
    markets: list[Market]
    left_out: list[str] = []


def described(market: Market) -> dict[str, object]:
    """Describe a market as the manifest of a recording does, in values that JSON can hold."""
    return msgspec.to_builtins({name: getattr(market, name) for name in _DESCRIBED})


def tradable(markets: Sequence[Market]) -> tuple[list[Market], list[Market]]:
    """Split markets into those that have tokens, and those of the same events that are listed without for now.

    Raises:
        UnknownMarketError: a market has none, and neither has any of its event.
    """
    whole = [market for market in markets if market.token_ids]
    events = {market.event_slug for market in whole if market.event_slug}
    without = [market for market in markets if not market.token_ids]
    alone = [market for market in without if market.event_slug not in events]
    if alone:
        names = ", ".join(repr(market.slug or market.condition_id) for market in alone[:_NAMED])
        raise UnknownMarketError(
            f"{names} {'is' if len(alone) == 1 else 'are'} listed without token ids, so there is nothing to ask the "
            "venue for yet; a market that was made just now has them within minutes, so try again then"
        )
    return whole, without


def clean(text: str, limit: int = 200) -> str:
    r"""Return a stranger's text as one visible line of at most ``limit`` characters.

    It is still untrusted: escape it in HTML, and never build a path from it.

    >>> clean("Will\n\u202eX\u200b win?\x1b[2J")
    'Will X win?[2J'
    """
    # Text beyond this is in the result only if most of it is invisible; so a hostile length costs little.
    visible = " ".join(text[: 50 * limit].split())
    if not (visible.isascii() and visible.isprintable()):
        line = " ".join(_INVISIBLE.sub("", visible).split())
        visible = "".join(letter for letter in line if unicodedata.category(letter) not in _REMOVED)
        visible = " ".join(visible.split())
    return visible if len(visible) <= limit else f"{visible[: limit - 1].rstrip()}…"


# --- names of tokens ---
# Directories of markets: tokens by the names that people give them, and markets by their tokens.

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
