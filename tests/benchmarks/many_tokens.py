"""Subscribe to ten thousand tokens over fifty connections, and see every opening book arrive in little memory."""

import argparse
import time
from collections.abc import Iterable, Iterator

import pmlive as pm

from . import figures
from .load import resident, served, wait

_PATIENCE = 120.0


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.many_tokens", description=__doc__)
    parser.add_argument("--tokens", type=int, default=10_000)
    figures.add_options(parser)
    options = parser.parse_args()
    before = resident()
    with served("--markets", str(options.tokens // 2)) as venue, pm.Manager(venue=venue.venue) as live:
        started = time.monotonic()
        live.subscribe_orderbook_updates(venue.token_ids)
        missing = _Missing(live, venue.token_ids)
        wait(missing.none_left, patience=_PATIENCE)
        row = (options.tokens, f"{time.monotonic() - started:.1f}", f"{before:.0f}", f"{resident():.0f}")
    text = figures.table(("opening books", "seconds", "memory before, MB", "memory with them, MB"), [row])
    figures.show("tokens", text, options)


class _Missing:
    """The tokens that have no proven book yet."""

    def __init__(self, live: pm.Manager, token_ids: Iterable[str]) -> None:
        self._live = live
        self._left = list(token_ids)

    def none_left(self) -> bool:
        self._left = list(self._without_book())
        return not self._left

    def _without_book(self) -> Iterator[str]:
        for token_id in self._left:
            try:
                self._live.book(token_id)
            except (pm.BookError, pm.UnknownMarketError):
                yield token_id


if __name__ == "__main__":
    main()
