"""Markets: a question, its outcomes and the token of each; and the cleaning of texts that strangers wrote."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from html import escape

import msgspec

from pmlive.errors import UnknownMarketError
from pmlive.markets.directory import label

__all__ = ["FeeSchedule", "Found", "Market", "Unreadable", "clean", "described", "tradable"]

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


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"
