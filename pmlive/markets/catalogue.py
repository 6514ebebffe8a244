"""Which markets there are: questions to the venue's catalogue, by whatever a user has at hand."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from pmlive.errors import FeedError, ProtocolError, UnknownMarketError
from pmlive.markets import ids, wire
from pmlive.markets.cache import Cache
from pmlive.markets.found import Found
from pmlive.markets.http import Asker, Policy
from pmlive.markets.market import Market, Unreadable
from pmlive.markets.references import Reference, reference
from pmlive.markets.series import Series
from pmlive.settings import Venue

if TYPE_CHECKING:
    from typing import Self  # only annotations use it

__all__ = ["Catalogue"]

# Ids asked for at once: 50 tokens make an address of 5 kB.
_BATCH = 50
_SUGGESTIONS = 3
_SUGGESTIBLE = re.compile(r"[a-z0-9-]{1,100}")
_FOUND_AT_MOST = "20"
# The tokens of either version of the venue's protocol are asked for by a name of their own.
_BY_CONDITION, _BY_TOKEN = ("condition_ids",), ("clob_token_ids", "position_ids")
_MOST_UNREADABLE = 1_000


class Catalogue:
    """Answer which market a text means; use it from one event loop, and close it.

    Answers about open markets are kept for a minute, about settled ones for good.
    """

    def __init__(
        self,
        venue: Venue | None = None,
        *,
        policy: Policy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make no connection yet; ``venue`` is by default the environment's."""
        venue = venue or Venue.from_environment()
        self._gamma = Asker(venue.gamma, policy or Policy())
        self._clob = Asker(venue.clob, policy or Policy())
        self._cache = Cache(clock)
        self._batching = asyncio.Lock()
        # Markets whose description was not understood, by slug, and those of each event when it was asked for last.
        self._unreadable: dict[str, Unreadable] = {}
        self._left_out: dict[str, list[str]] = {}

    async def __aenter__(self) -> "Self":
        """Use the catalogue in a block and close it after."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._gamma.close()
        await self._clob.close()

    async def find(self, text: str) -> list[Market]:
        """Find what a text means: an address, an id, a slug, a series (its markets now and next), or words.

        Only a search for words may find nothing.

        Raises:
            ValueError: the text cannot name a market.
            UnknownMarketError: the venue does not know the id, the slug or the address.
            FeedError: the venue cannot be asked.
        """
        meant = reference(text)
        if meant.kind == "words":
            return await self.search(meant.value)
        found = await self._named(meant)
        # A single word may be a slug, but is likelier to be a word.
        if not found and meant.kind == "slug" and "-" not in meant.value:
            return await self.search(meant.value)
        return found or await self._unknown(meant)

    async def markets(self, texts: Iterable[str]) -> list[Market]:
        """Find the markets that several texts mean, each market once, asking for ids in batches.

        Raises:
            ValueError: a text that cannot name a market, or words.
            UnknownMarketError: a market that the venue does not know.
            ProtocolError: the one market that a text names is not understood, such as one of a newer protocol.
            FeedError: the venue cannot be asked.
        """
        found = [market for each in await self.found(texts) for market in each.markets]
        return list({market.condition_id or market.slug: market for market in found}.values())

    async def found(self, texts: Iterable[str]) -> list[Found]:
        """Find the markets that each text means, and what of it is not understood, as ``markets`` does.

        Raises:
            ValueError: a text that cannot name a market, or words.
            UnknownMarketError: a market that the venue does not know.
            ProtocolError: the one market that a text names is not understood, such as one of a newer protocol.
            FeedError: the venue cannot be asked.
        """
        texts = list(texts)
        meant = [reference(text) for text in texts]
        await self.by_conditions([each.value for each in meant if each.kind == "condition id"])
        await self.by_tokens([each.value for each in meant if each.kind == "token id"])
        return [
            Found(text, await self._sure(each), self._left_out.get(each.value, []))
            for text, each in zip(texts, meant, strict=True)
        ]

    async def market(self, text: str) -> Market:
        """Find the one market that a text means; of a series, the one that runs now.

        Raises:
            ValueError: the text cannot name a market, or means several.
            UnknownMarketError: the venue does not know it.
            FeedError: the venue cannot be asked.
        """
        meant = reference(text)
        found = await self._sure(meant)
        if len(found) > 1 and meant.kind != "series":
            raise ValueError(f"{meant.value!r} is an event of {len(found)} markets; name one of {_slugs(found, 10)}")
        return found[0]

    async def event(self, slug: str) -> list[Market]:
        """List the markets of an event.

        Raises:
            UnknownMarketError: the venue does not know the event.
            FeedError: the venue cannot be asked.
        """
        return await self._event(slug) or await self._unknown(Reference("event", slug))

    async def by_condition(self, condition_id: str) -> Market:
        """Find the market of a condition id, open or closed.

        Raises:
            UnknownMarketError: the venue does not know it.
            FeedError: the venue cannot be asked.
        """
        return (await self._sure(Reference("condition id", condition_id)))[0]

    async def by_token(self, token_id: str) -> Market:
        """Find the market of a token, open or closed.

        Raises:
            UnknownMarketError: the venue does not know it.
            FeedError: the venue cannot be asked.
        """
        return (await self._sure(Reference("token id", token_id)))[0]

    async def by_conditions(self, condition_ids: Sequence[str]) -> dict[str, Market]:
        """Map condition ids to markets, leaving out those that the venue does not know."""
        return await self._batches(_BY_CONDITION, condition_ids)

    async def by_tokens(self, token_ids: Sequence[str]) -> dict[str, Market]:
        """Map tokens to markets, leaving out those that the venue does not know."""
        return await self._batches(_BY_TOKEN, token_ids)

    async def now(self, markets: Sequence[Market], state: Literal["open", "closed"]) -> list[Market]:
        """List those of some markets that are open, or closed, as they are described now and not a minute ago.

        Raises:
            FeedError: the venue cannot be asked.
            ProtocolError: its answer is not understood.
        """
        by_id = [market.condition_id for market in markets if market.condition_id]
        by_slug = [market.slug for market in markets if not market.condition_id]
        found: list[Market] = []
        for parameter, wanted in (("condition_ids", by_id), ("slug", by_slug)):
            for start in range(0, len(wanted), _BATCH):
                found += await self._asked(parameter, wanted[start : start + _BATCH], state)
        return found

    async def search(self, words: str) -> list[Market]:
        """Search titles for words; open markets come first.

        Raises:
            FeedError: the venue cannot be asked.
        """
        body = await self._gamma.get("/public-search", {"q": words[:200], "limit_per_type": _FOUND_AT_MOST})
        found = wire.gamma_search(body, refuse=self._refuse) if body else []
        self._cache.keep_each(found)
        return sorted(found, key=lambda market: market.closed)

    async def book(self, token_id: str) -> bytes | None:
        """Fetch a book as the venue writes it, or None where it has none.

        Raises:
            FeedError: the venue cannot be asked.
        """
        return await self._clob.get("/book", {"token_id": token_id})

    async def time(self) -> float:
        """Ask the venue for its clock, in seconds since 1970.

        Raises:
            FeedError: the venue cannot be asked.
            ProtocolError: it answered something else.
        """
        body = await self._clob.get("/time") or b""
        try:
            return float(body)
        except ValueError:
            raise ProtocolError(f"the venue's clock is not a number: {body[:40]!r}") from None

    def series_window(self, series: str, now: float, count: int = 2) -> list[str]:
        """Name the market of a series that runs at a time, in seconds since 1970, and those after it.

        Raises:
            ValueError: not the name of a series.
        """
        return list(islice(Series.parse(series).upcoming(now), count))

    async def _sure(self, meant: Reference) -> list[Market]:
        if meant.kind == "words":
            raise ValueError(f"{meant.value[:100]!r} names no market for sure; search for it with pmlive.find")
        return await self._named(meant) or await self._unknown(meant)

    def _understood(self, meant: Reference) -> None:
        """Refuse what the venue knows, but describes in a way that nobody here understands."""
        reasons = [each.reason for each in self._unreadable.values() if each.names(meant.value)]
        if reasons := reasons or self._left_out.get(meant.value, []):
            raise ProtocolError("; ".join(reasons[:_SUGGESTIONS]))

    def _refuse(self, market: Unreadable) -> None:
        known = self._unreadable.get(market.slug)
        if known is None or known.reason != market.reason:
            wire.left_out(market)
        if known is None and len(self._unreadable) >= _MOST_UNREADABLE:
            del self._unreadable[next(iter(self._unreadable))]
        self._unreadable[market.slug] = market

    async def _named(self, meant: Reference) -> list[Market]:
        match meant.kind:
            case "condition id":
                return list((await self.by_conditions([meant.value])).values())
            case "token id":
                return await self._of_number(meant.value)
            case "series":
                slugs = self.series_window(meant.value, time.time())
                return [market for slug in slugs for market in await self._slug(slug)]
            case "event":
                return await self._event(meant.value) or await self._slug(meant.value)
            case _:
                return await self._of_event(meant) or await self._slug(meant.value) or await self._event(meant.value)

    async def _of_number(self, number: str) -> list[Market]:
        """Find the market of a token; a number of few digits may also be the catalogue's own for a market."""
        found = list((await self.by_tokens([number])).values())
        return found if found or ids.is_long_token_id(number) else await self._one(f"/markets/{number}")

    async def _of_event(self, meant: Reference) -> list[Market]:
        if not meant.event:
            return []
        return [market for market in await self._event(meant.event) if market.slug == meant.value]

    async def _slug(self, slug: str) -> list[Market]:
        return await self._one(f"/markets/slug/{quote(slug, safe='')}")

    async def _one(self, path: str) -> list[Market]:
        async def ask() -> list[Market]:
            body = await self._gamma.get(path)
            return [wire.gamma_market(body)] if body else []

        return await self._cache.get_or(path, ask)

    async def _event(self, slug: str) -> list[Market]:
        path = f"/events/slug/{quote(slug, safe='')}"

        async def ask() -> list[Market]:
            body, left_out = await self._gamma.get(path), list[str]()

            def refuse(market: Unreadable) -> None:
                left_out.append(market.reason)
                self._refuse(market)

            found = wire.gamma_event(body, refuse=refuse) if body else []
            self._left_out.pop(slug, None)
            if left_out:
                self._left_out[slug] = left_out
            return found

        return await self._cache.get_or(path, ask)

    async def _batches(self, parameters: Sequence[str], wanted: Sequence[str]) -> dict[str, Market]:
        unique = list(dict.fromkeys(wanted))
        for start in range(0, len(unique), _BATCH):
            async with self._batching:  # who waits here finds that its ids are known
                await self._batch(parameters, unique[start : start + _BATCH])
        known = {each: self._cache.get(each) for each in unique}
        return {each: markets[0] for each, markets in known.items() if markets}

    # Gamma leaves closed markets out unless it is asked for them; the CLOB knows some that Gamma does not list yet.
    async def _batch(self, parameters: Sequence[str], wanted: Sequence[str]) -> None:
        states: tuple[Literal["open", "closed"], ...] = ("open", "closed")
        for state in states:
            for parameter in parameters:
                if missing := self._missing(wanted):
                    await self._asked(parameter, missing, state)
        for each in self._missing(wanted):
            # What Gamma knows and nobody here understands is not guessed from elsewhere.
            if not any(market.names(each) for market in self._unreadable.values()):
                self._cache.keep_each(await self._from_clob(each))

    def _missing(self, wanted: Sequence[str]) -> list[str]:
        return [each for each in wanted if self._cache.get(each) is None]

    async def _asked(self, parameter: str, wanted: Sequence[str], state: Literal["open", "closed"]) -> list[Market]:
        asked = {parameter: wanted, "limit": str(_BATCH), "closed": "true" if state == "closed" else "false"}
        found = wire.gamma_markets(await self._gamma.get("/markets", asked) or b"[]", refuse=self._refuse)
        self._cache.keep_each(found)
        return found

    async def _from_clob(self, given: str) -> list[Market]:
        condition_id = given
        if not given.startswith("0x"):
            body = await self._clob.get(f"/markets-by-token/{quote(given, safe='')}")
            condition_id = wire.clob_condition(body) if body else ""
        body = await self._clob.get(f"/markets/{quote(condition_id, safe='')}") if condition_id else None
        return [wire.clob_market(body)] if body else []

    async def _unknown(self, meant: Reference) -> list[Market]:
        self._understood(meant)
        if meant.kind in {"condition id", "token id"}:
            advice = "check that it was copied whole; a market made just now may take minutes to be listed"
            if meant.kind == "token id" and not ids.is_long_token_id(meant.value):
                advice = f"no market has this number in the catalogue, either; {advice}"
        elif Series.named_by(meant.value):
            advice = "markets of a series are listed about a day before they start"
        else:
            near = await self._nearest(meant.value)
            advice = f"nearest: {near}" if near else "paste the address of its page, or search for words"
        raise UnknownMarketError(f"no market with the {meant.kind} {meant.value[:100]!r}; {advice}")

    async def _nearest(self, slug: str) -> str:
        words = re.sub(r"[^a-z0-9]+", " ", slug.lower())
        try:
            return _slugs(await self.search(words), _SUGGESTIONS)
        except (FeedError, ProtocolError):
            return ""


# Slugs are strangers' text too: only those that are nothing but slugs get into a message.
def _slugs(markets: Sequence[Market], most: int) -> str:
    slugs = dict.fromkeys(market.slug for market in markets if _SUGGESTIBLE.fullmatch(market.slug))
    return ", ".join(islice(slugs, most))
