"""The past of a market as the venue's REST tells it: trades, and prices in buckets of time; from before a recording.

What comes of it is labelled as the frames of a manager and of a recording, and has ``source``, which is ``"rest"``
here and null in rows of a recording. It is not recorded data and does not pass for it: it has no ``seq``, ``ts_recv``
or ``conn``, nothing proves it, and no gap is known. The venue keeps no books, so none can be had.

Vendors do: ``read_tardis``, ``read_pmxt`` and ``read_telonex`` read their files into frames of the same columns, whose
``source`` is the vendor. Each says what its files lack of a recording; none of them can be proved or verified.

>>> import polars as pl
>>> import pmlive as pm
>>> live = pm.Manager(venue="sim")
>>> slug = live.sim.markets[0].slug
>>> _ = live.sim.step(400)
>>> before = live.history.trades(slug, outcome="Yes")
>>> before.columns
['ts_event', 'token_id', 'slug', 'outcome', 'market', 'price', 'size', 'side', 'transaction_hash', 'proxy_wallet',
 'source']
>>> before.coverage.whole, before["source"].unique().to_list()
(True, ['rest'])
>>> pl.concat([before, live.trades], how="diagonal").height >= before.height
True
>>> live.history.prices(slug, outcome="Yes", every="3h").columns
['time', 'ts_event', 'token_id', 'slug', 'outcome', 'market', 'price', 'source']
>>> live.close()
"""

from pmlive.history.client import Cache, History
from pmlive.history.pmxt import read_pmxt
from pmlive.history.shelf import Coverage, HistoryFrame, HistoryWarning
from pmlive.history.tardis import read_tardis
from pmlive.history.telonex import read_telonex
from pmlive.markets import Market
from pmlive.settings import Venue
from pmlive.times import Interval, Time

__all__ = [
    "Cache",
    "Coverage",
    "History",
    "HistoryWarning",
    "prices",
    "read_pmxt",
    "read_tardis",
    "read_telonex",
    "trades",
]


def trades(
    market: str | Market,
    *,
    outcome: str | None = None,
    start: Time | None = None,
    end: Time | None = None,
    venue: Venue | None = None,
    cache: Cache = "keep",
) -> HistoryFrame:
    """Return the trades of a market, the oldest first, as the venue's data API lists them.

    Each is a taker's order, once, with the taker's side; makers' rows, which would count its size again, are left out.
    ``price`` is what the taker paid, in dollars per share, which may be an average of several prices, and ``size`` is
    in shares. ``ts_event`` is the time of the block, in whole seconds, and some seconds later than in a recording; the
    ``transaction_hash`` is the same. The venue lists no trades of less than 0.01 shares, and those of three years only.

    Pages are requested from the newest trade back to ``start``, 1,000 trades each and at most ten a second, whatever
    ``end`` is. What is older than an hour is kept on disk, so that this continues where it ended, also after it was
    interrupted, and asks for each trade once.

    Args:
        market: an address, a slug, a condition id, or a ``Market``; a token id means the trades of that token.
        outcome: the trades of this outcome only.
        start: the first time; by default the oldest trade that the venue lists.
        end: the time before which it ends; by default now.
        venue: where; by default as for ``pmlive.find``.
        cache: where what no longer changes is kept, as ``History`` takes it; ``"off"`` asks for everything again.

    Raises:
        ValueError: the text cannot name a market or means several, a time is invalid, or the end is before the start.
        UnknownMarketError: the venue does not know the market, or it has no such outcome.
        FeedError: the venue cannot be asked; what was fetched before is kept.
        ProtocolError: the venue's answer is not understood, or contradicts itself.

    Warns:
        HistoryWarning: the venue does not list all of the interval; ``coverage`` of the frame has the numbers.
    """
    return History(_here(venue), cache=cache).trades(market, outcome=outcome, start=start, end=end)


def prices(
    market: str | Market,
    *,
    outcome: str | None = None,
    start: Time | None = None,
    end: Time | None = None,
    every: Interval | None = None,
    venue: Venue | None = None,
    cache: Cache = "keep",
) -> HistoryFrame:
    """Return the prices of a market's outcomes in buckets of time, the oldest first, as the venue's charts have them.

    ``time`` is the start of a bucket, as in ``Recording.prices(every=…)``. The price was observed somewhere in the
    bucket, so it was known for certain at its end only, which is ``ts_event``: join by that, and nothing looks ahead. A
    bucket without an observation has no row. The venue does not say whether it is a price of trades or of the book.
    The payout of a resolved market is no price of the grid and left out, as is a bucket that is not over.

    The venue keeps buckets below 5 minutes for 7 days at least, below 30 minutes for 60, below 3 hours for 90, and
    wider ones for good. What was fetched is kept on disk for longer.

    Args:
        market: an address, a slug, a condition id, or a ``Market``; a token id means the prices of that token.
        outcome: the prices of this outcome only.
        start: the first time of a bucket; by default the market's start.
        end: the time before which buckets begin; by default now.
        every: the length of a bucket, 60 s to one day; by default the shortest of 1m, 5m, 30m and 3h that the venue is
            sure to have from ``start`` on.
        venue: where, and ``cache``: what is kept; both as for ``trades``.
        cache: see ``venue``.

    Raises:
        ValueError: the text cannot name a market or means several, or a time or the length of a bucket is invalid.
        PmliveError: as for ``trades``.

    Warns:
        HistoryWarning: the venue does not have all of the interval any more; ``coverage`` of the frame has the numbers.
    """
    return History(_here(venue), cache=cache).prices(market, outcome=outcome, start=start, end=end, every=every)


def _here(venue: Venue | None) -> Venue | None:
    from pmlive.manager.lifecycle import venue_here  # managers have a history, too

    return venue_here(venue)
