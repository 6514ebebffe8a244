"""The venue's catalogue: markets found by an address, an id, a slug, a series or words."""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Literal, NoReturn
from urllib.parse import quote
from weakref import WeakValueDictionary

from pmlive.errors import FeedError, ProtocolError, UnknownMarketError
from pmlive.markets.http import HttpClient
from pmlive.markets.market import Found, Market, Unreadable
from pmlive.markets.references import Reference, Series, is_long_token_id, reference
from pmlive.markets.responses import (
    clob_condition,
    clob_market,
    gamma_event,
    gamma_market,
    gamma_markets,
    gamma_search,
    warn_left_out,
)
from pmlive.retries import RequestPolicy
from pmlive.settings import Venue

if TYPE_CHECKING:
    from typing import Self  # only annotations use it

__all__ = ["Catalogue", "find"]

# Ids asked for at once: 50 tokens make an address of 5 kB.
_BATCH = 50
_SUGGESTIONS = 3
# Where a search for all words of an unknown slug finds nothing, so many of the longest are searched one by one.
_SHORT_WORD, _WORDS_TRIED = 2, 3
_SUGGESTIBLE = re.compile(r"[a-z0-9-]{1,100}")
_MOST_EVENTS_FOUND = "20"
# The tokens of either version of the venue's protocol are asked for by a name of their own.
_BY_CONDITION, _BY_TOKEN = ("condition_ids",), ("clob_token_ids", "position_ids")
_MOST_UNREADABLE = 1_000
# How long answers about open markets are kept, and how many answers in all.
_OPEN_FOR_S = 60.0
_MOST_CACHED = 20_000


class Catalogue:
    """Finds the markets that texts mean; use it from one event loop, and close it.

    Answers about open markets are kept for a minute, about settled ones for good.
    """

    def __init__(
        self,
        venue: Venue | None = None,
        *,
        policy: RequestPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the clients; they connect when first used. ``venue`` is by default the environment's."""
        venue = venue or Venue.from_environment()
        self._gamma = HttpClient(venue.gamma, policy or RequestPolicy())
        self._clob = HttpClient(venue.clob, policy or RequestPolicy())
        self._cache = _Cache(clock)
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
        found = await self._resolve(meant)
        # A single word may be a slug, but is more likely a word to search for.
        if not found and meant.kind == "slug" and "-" not in meant.value:
            return await self.search(meant.value)
        return found or await self._raise_unknown(meant)

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
            Found(text, await self._one_or_more(each), self._left_out.get(each.value, []))
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
        found = await self._one_or_more(meant)
        if len(found) > 1 and meant.kind != "series":
            raise ValueError(f"{meant.value!r} is an event of {len(found)} markets; name one of {_slugs(found, 10)}")
        return found[0]

    async def event(self, slug: str) -> list[Market]:
        """List the markets of an event.

        Raises:
            UnknownMarketError: the venue does not know the event.
            FeedError: the venue cannot be asked.
        """
        return await self._by_event(slug) or await self._raise_unknown(Reference("event", slug))

    async def by_condition(self, condition_id: str) -> Market:
        """Find the market of a condition id, open or closed.

        Raises:
            UnknownMarketError: the venue does not know it.
            FeedError: the venue cannot be asked.
        """
        return (await self._one_or_more(Reference("condition id", condition_id)))[0]

    async def by_token(self, token_id: str) -> Market:
        """Find the market of a token, open or closed.

        Raises:
            UnknownMarketError: the venue does not know it.
            FeedError: the venue cannot be asked.
        """
        return (await self._one_or_more(Reference("token id", token_id)))[0]

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
                found += await self._query(parameter, wanted[start : start + _BATCH], state)
        return found

    async def search(self, words: str) -> list[Market]:
        """Search titles for words; open markets come first.

        Raises:
            FeedError: the venue cannot be asked.
        """
        body = await self._gamma.get("/public-search", {"q": words[:200], "limit_per_type": _MOST_EVENTS_FOUND})
        found = gamma_search(body, refuse=self._refuse) if body else []
        self._cache.keep_each(found)
        return sorted(found, key=lambda market: market.closed)

    async def book(self, token_id: str) -> bytes | None:
        """Fetch a book as the venue writes it, or None where it has none.

        Raises:
            FeedError: the venue cannot be asked.
        """
        return await self._clob.get("/book", {"token_id": token_id})

    async def time(self) -> float:
        """Request the venue's time, in seconds since 1970.

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
        """Return the slugs of the market of a series that runs at a time, in seconds since 1970, and of those after it.

        Raises:
            ValueError: not the name of a series.
        """
        return list(islice(Series.parse(series).upcoming(now), count))

    async def _one_or_more(self, meant: Reference) -> list[Market]:
        if meant.kind == "words":
            raise ValueError(f"{meant.value[:100]!r} is not the name of one market; search for it with pmlive.find")
        return await self._resolve(meant) or await self._raise_unknown(meant)

    def _refuse_unreadable(self, meant: Reference) -> None:
        """Raise if the venue knows a market, but describes it in a way that is not understood here."""
        reasons = [each.reason for each in self._unreadable.values() if each.names(meant.value)]
        if reasons := reasons or self._left_out.get(meant.value, []):
            raise ProtocolError("; ".join(reasons[:_SUGGESTIONS]))

    def _refuse(self, market: Unreadable) -> None:
        known = self._unreadable.get(market.slug)
        if known is None or known.reason != market.reason:
            warn_left_out(market)
        if known is None and len(self._unreadable) >= _MOST_UNREADABLE:
            del self._unreadable[next(iter(self._unreadable))]
        self._unreadable[market.slug] = market

    async def _resolve(self, meant: Reference) -> list[Market]:
        match meant.kind:
            case "condition id":
                return list((await self.by_conditions([meant.value])).values())
            case "token id":
                return await self._by_number(meant.value)
            case "series":
                slugs = self.series_window(meant.value, time.time())
                return [market for slug in slugs for market in await self._by_slug(slug)]
            case "event":
                return await self._by_event(meant.value) or await self._by_slug(meant.value)
            case _:
                return (
                    await self._in_event(meant) or await self._by_slug(meant.value) or await self._by_event(meant.value)
                )

    async def _by_number(self, number: str) -> list[Market]:
        """Find the market of a token; a number of few digits may also be the catalogue's own for a market."""
        found = list((await self.by_tokens([number])).values())
        return found if found or is_long_token_id(number) else await self._by_path(f"/markets/{number}")

    async def _in_event(self, meant: Reference) -> list[Market]:
        if not meant.event:
            return []
        return [market for market in await self._by_event(meant.event) if market.slug == meant.value]

    async def _by_slug(self, slug: str) -> list[Market]:
        return await self._by_path(f"/markets/slug/{quote(slug, safe='')}")

    async def _by_path(self, path: str) -> list[Market]:
        async def ask() -> list[Market]:
            body = await self._gamma.get(path)
            return [gamma_market(body)] if body else []

        return await self._cache.get_or(path, ask)

    async def _by_event(self, slug: str) -> list[Market]:
        path = f"/events/slug/{quote(slug, safe='')}"

        async def ask() -> list[Market]:
            body, left_out = await self._gamma.get(path), list[str]()

            def refuse(market: Unreadable) -> None:
                left_out.append(market.reason)
                self._refuse(market)

            found = gamma_event(body, refuse=refuse) if body else []
            self._left_out.pop(slug, None)
            if left_out:
                self._left_out[slug] = left_out
            return found

        return await self._cache.get_or(path, ask)

    async def _batches(self, parameters: Sequence[str], wanted: Sequence[str]) -> dict[str, Market]:
        unique = list(dict.fromkeys(wanted))
        for start in range(0, len(unique), _BATCH):
            async with self._batching:  # after waiting here, the ids may be known
                await self._batch(parameters, unique[start : start + _BATCH])
        known = {each: self._cache.get(each) for each in unique}
        return {each: markets[0] for each, markets in known.items() if markets}

    # Gamma leaves closed markets out unless it is asked for them; the CLOB knows some that Gamma does not list yet.
    async def _batch(self, parameters: Sequence[str], wanted: Sequence[str]) -> None:
        states: tuple[Literal["open", "closed"], ...] = ("open", "closed")
        for state in states:
            for parameter in parameters:
                if missing := self._missing(wanted):
                    await self._query(parameter, missing, state)
        for each in self._missing(wanted):
            # A market that Gamma describes in a way that is not understood is not guessed from the CLOB.
            if not any(market.names(each) for market in self._unreadable.values()):
                self._cache.keep_each(await self._from_clob(each))

    def _missing(self, wanted: Sequence[str]) -> list[str]:
        return [each for each in wanted if self._cache.get(each) is None]

    async def _query(self, parameter: str, wanted: Sequence[str], state: Literal["open", "closed"]) -> list[Market]:
        query = {parameter: wanted, "limit": str(_BATCH), "closed": "true" if state == "closed" else "false"}
        found = gamma_markets(await self._gamma.get("/markets", query) or b"[]", refuse=self._refuse)
        self._cache.keep_each(found)
        return found

    async def _from_clob(self, market_id: str) -> list[Market]:
        condition_id = market_id
        if not market_id.startswith("0x"):
            body = await self._clob.get(f"/markets-by-token/{quote(market_id, safe='')}")
            condition_id = clob_condition(body) if body else ""
        body = await self._clob.get(f"/markets/{quote(condition_id, safe='')}") if condition_id else None
        return [clob_market(body)] if body else []

    async def _raise_unknown(self, meant: Reference) -> NoReturn:
        self._refuse_unreadable(meant)
        if meant.kind in {"condition id", "token id"}:
            advice = "check that it was copied whole; a market made just now may take minutes to be listed"
            if meant.kind == "token id" and not is_long_token_id(meant.value):
                advice = f"no market has this number in the catalogue, either; {advice}"
        elif Series.named_by(meant.value):
            advice = "markets of a series are listed about a day before they start"
        else:
            near = await self._nearest(meant.value)
            advice = f"nearest: {near}" if near else "paste the address of its page, or search for words"
        raise UnknownMarketError(f"no market with the {meant.kind} {meant.value[:100]!r}; {advice}")

    async def _nearest(self, slug: str) -> str:
        """List slugs that are like one that the venue does not know, also where one of its words is misspelt."""
        words = re.findall(r"[a-z0-9]+", slug.lower())
        # A word of a letter or two is in the title of anything.
        telling = sorted((word for word in words if len(word) > _SHORT_WORD), key=len, reverse=True)
        if not telling:
            return ""
        try:
            found = await self.search(" ".join(words))
            if found or len(words) == 1:
                return _slugs(found, _SUGGESTIONS)
            alike = {market.slug: market for word in telling[:_WORDS_TRIED] for market in await self.search(word)}
        except (FeedError, ProtocolError):
            return ""
        close = get_close_matches(slug.lower(), alike, n=_SUGGESTIONS)
        return _slugs([alike[each] for each in close], _SUGGESTIONS)


def find(text: str, venue: Venue | None = None) -> list[Market]:
    """Find what a text means: an address, an id, a slug, a series, or words to search for.

    It works in a script and in a notebook, whose event loop is blocked meanwhile.

    Raises:
        ValueError: the text cannot name a market.
        UnknownMarketError: the venue does not know the id, the slug or the address.
        FeedError: the venue cannot be asked.
    """
    if not _in_a_loop():
        return asyncio.run(_find(text, venue))
    with ThreadPoolExecutor(1, thread_name_prefix="pmlive-find") as thread:
        return thread.submit(asyncio.run, _find(text, venue)).result()


class _Cache:
    """Keeps markets under any key: open ones for a minute, settled ones while there is room.

    A request for a key that is just being requested waits for that answer.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start empty."""
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, list[Market]]] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def get(self, key: str) -> list[Market] | None:
        """Return what is still fresh."""
        until, markets = self._kept.get(key, (0.0, []))
        return markets if markets and self._clock() < until else None

    def keep(self, key: str, markets: list[Market]) -> None:
        """Keep an answer, unless it is empty or lacks tokens, which changes within moments."""
        if not key or not markets or any(not market.token_ids and not market.closed for market in markets):
            return
        settled = all(market.closed and market.winner is not None for market in markets)
        self._kept[key] = (float("inf") if settled else self._clock() + _OPEN_FOR_S, markets)
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST_CACHED:
            self._kept.popitem(last=False)

    def keep_each(self, markets: Iterable[Market]) -> None:
        """Keep markets under each of their own ids."""
        for market in markets:
            for key in (market.condition_id, *market.token_ids):
                self.keep(key, [market])

    async def get_or(self, key: str, ask: Callable[[], Awaitable[list[Market]]]) -> list[Market]:
        """Return what is fresh, or request it, once for all that wait."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            known = self.get(key)
            if known is None:
                known = await ask()
                self.keep(key, known)
                self.keep_each(known)
            return known


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _find(text: str, venue: Venue | None) -> list[Market]:
    async with Catalogue(venue) as catalogue:
        return await catalogue.find(text)


# Slugs are strangers' text too: only those that are nothing but slugs get into a message.
def _slugs(markets: Sequence[Market], most: int) -> str:
    slugs = dict.fromkeys(market.slug for market in markets if _SUGGESTIBLE.fullmatch(market.slug))
    return ", ".join(islice(slugs, most))
