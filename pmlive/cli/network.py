"""What ``pmlive doctor`` finds of the venue: whether each address answers, and whether the clocks agree."""

import asyncio
import time
from typing import Literal

from pmlive.cli.verdict import Verdict
from pmlive.errors import FeedError, ProtocolError
from pmlive.feed.probe import probe
from pmlive.markets import Catalogue, Policy
from pmlive.proxies import proxy_for, tls
from pmlive.settings import Venue

__all__ = ["network"]

_PATIENCE = 5.0
_SKEW = 2.0
_ADVICE = "check the network and a proxy; a firewall or a country may be in between"


async def network(venue: Venue) -> list[Verdict]:
    """Ask every address of the venue once."""
    way = _way(venue)
    if way.state == "problem":
        return [way]
    async with Catalogue(venue, policy=Policy(timeout=_PATIENCE, attempts=1)) as catalogue:
        found = await asyncio.gather(
            _gamma(catalogue, venue.gamma),
            _clob(catalogue, venue.clob),
            _socket("books", f"{venue.clob_ws}/market", "problem"),
            _socket("own orders", f"{venue.clob_ws}/user", "warning"),
            _socket("activity", venue.live_data, "warning"),
            _socket("price stream", venue.prices_ws, "warning"),
        )
    return [way, *(verdict for verdicts in found for verdict in verdicts)]


def _way(venue: Venue) -> Verdict:
    """Say whether the venue is reached through a proxy, and that the certificates can be read."""
    addresses = (venue.clob, venue.gamma, venue.clob_ws, venue.live_data, venue.prices_ws)
    try:
        proxies = {address: proxy_for(address) for address in addresses}
        if any(address.startswith(("https:", "wss:")) for address in addresses):
            tls()
    except FeedError as error:
        return Verdict("proxy", "problem", str(error), "nothing was asked of the venue")
    shown = dict.fromkeys("none" if proxy is None else proxy.shown for proxy in proxies.values())
    return Verdict("proxy", "ok", ", ".join(shown))


async def _gamma(catalogue: Catalogue, url: str) -> list[Verdict]:
    try:
        await catalogue.search("election")
    except (FeedError, ProtocolError) as error:
        return [Verdict("catalogue", "problem", str(error))]
    return [Verdict("catalogue", "ok", f"{url} answers")]


async def _clob(catalogue: Catalogue, url: str) -> list[Verdict]:
    before = time.time()
    try:
        theirs = await catalogue.time()
    except (FeedError, ProtocolError) as error:
        unknown = Verdict("clock", "warning", "not compared, since the venue did not tell its time")
        return [Verdict("exchange", "problem", str(error)), unknown]
    return [Verdict("exchange", "ok", f"{url} answers"), _clock(theirs, before, time.time())]


def _clock(theirs: float, before: float, after: float) -> Verdict:
    # The venue tells whole seconds, so its time is half a second later on average.
    skew = (before + after) / 2 - (theirs + 0.5)
    if abs(skew) <= _SKEW:
        return Verdict("clock", "ok", f"within {_SKEW:g} s of the venue's")
    found = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the venue's"
    return Verdict("clock", "warning", found, "receive times are off by as much; let the system set its clock (NTP)")


async def _socket(name: str, url: str, otherwise: Literal["warning", "problem"]) -> list[Verdict]:
    wrong = await probe(url, timeout=_PATIENCE)
    return [Verdict(name, "ok", f"{url} answers") if wrong is None else Verdict(name, otherwise, wrong, _ADVICE)]
