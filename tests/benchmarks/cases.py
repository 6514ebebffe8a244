"""The things that are measured, each in a process of its own: `python cases.py CASE CORPUS`.

The process prepares, then answers each line on its standard input with one line of JSON: processor nanoseconds for the
whole corpus, and the number of messages that were refused or found wrong. It is a script without siblings, because
peers' environments may hold another package called `tests`.

Time is the corpus's own: 100,000 frames a second, about what is measured, unless a case says otherwise. The opening
books are taken before the clock starts.
"""

# ruff: noqa: ANN401 - what the peers give has no types here, where they are not installed

import asyncio
import gc
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import count, takewhile
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, TypeAlias

__all__ = ["CASES", "Case", "main"]

Factory: TypeAlias = Callable[[Sequence[bytes]], "Case"]

_CONN = 1
_START = 1_791_000_000_000_000_000
_SECOND = 1_000_000_000
_FLOOD, _BUSY = 100_000, 5_000
_ROLLING_ROWS, _ROLLING_AGE = 1_000_000, timedelta(hours=1)


class Case(NamedTuple):
    """What takes frames one by one, and what is done after the last, which tells how many it refused or found wrong.

    ``hand_on`` is done once in so many frames.
    """

    take: Callable[[Iterable[Any]], object]
    finish: Callable[[], int]
    read: Callable[[bytes], object] = bytes
    hand_on: Callable[[], object] = list
    every: int = 100_000


def decode(_opening: Sequence[bytes]) -> Case:
    """Read frames into events."""
    from pmlive._wire import reader
    from pmlive.events import Malformed, Unknown

    read, refused = reader("market"), 0

    def take(frames: Iterable[bytes]) -> None:
        nonlocal refused
        for frame in frames:
            for event in read(frame):
                refused += isinstance(event, (Malformed, Unknown))

    return Case(take, lambda: refused)


def book(_opening: Sequence[bytes]) -> Case:
    """Read frames and keep every token's book."""
    from pmlive._wire import reader
    from pmlive.book import Book
    from pmlive.events import BookSnapshot, Event, PriceChange

    read = reader("market")
    books: dict[str, Book] = {}

    def put(event: Event) -> None:
        if isinstance(event, PriceChange):
            for change in event.changes:
                books[change.token_id].put("bid" if change.side == "BUY" else "ask", change.price, change.size)
        elif isinstance(event, BookSnapshot):
            books.setdefault(event.token_id, Book()).replace(event)

    def take(frames: Iterable[bytes]) -> None:
        for frame in frames:
            for event in read(frame):
                put(event)

    return Case(take, lambda: sum(book.best_bid is None for book in books.values()))


def ours(opening: Sequence[bytes]) -> Case:
    """Read, keep books, check best prices and extend the rolling columns."""
    return _pipeline(opening, hashes=False, rate=_FLOOD)


def paced(opening: Sequence[bytes]) -> Case:
    """Do all of `ours` at 5,000 frames a second, so that what is done by the clock is done more often."""
    return _pipeline(opening, hashes=False, rate=_BUSY)


def hashes(opening: Sequence[bytes]) -> Case:
    """Do all of `ours` and verify every book hash."""
    return _pipeline(opening, hashes=True, rate=_FLOOD)


def paced_hashes(opening: Sequence[bytes]) -> Case:
    """Do all of `paced` and verify every book hash."""
    return _pipeline(opening, hashes=True, rate=_BUSY)


def _pipeline(opening: Sequence[bytes], *, hashes: bool, rate: int) -> Case:
    from pmlive._wire import reader
    from pmlive.pipeline import Pipeline
    from pmlive.tables import ROLLING, Rolling

    pipeline = Pipeline(hashes=hashes, making="rolling")
    pipeline.opened(_CONN, "market", _token_ids(opening), _START)
    read, received, now = reader("market"), pipeline.received, count(_START, _SECOND // rate).__next__
    rolling = {table: Rolling(table, rows=_ROLLING_ROWS, age=_ROLLING_AGE) for table in ROLLING}

    def take(frames: Iterable[bytes]) -> None:
        for frame in frames:
            received(_CONN, read(frame), now(), frame)

    def hand_on() -> None:
        for table, frame in pipeline.drain().items():
            if table in rolling:
                rolling[table].extend(frame)

    def finish() -> int:
        pipeline.finish(now())
        hand_on()
        return rolling["gaps"].frame(_START).height + pipeline.counts.get("malformed", 0)

    return Case(take, finish, hand_on=hand_on, every=rate)


def polymarket_client(_opening: Sequence[bytes]) -> Case:
    """Decode alone, as the official client does with the text its socket gives; it keeps no books."""
    parse_events = resolve_name("polymarket._internal.streams.clob.market_protocol:parse_events")
    refused = 0

    def take(texts: Iterable[str]) -> None:
        nonlocal refused
        for text in texts:
            refused += parse_events(json.loads(text))[1]

    return Case(take, lambda: refused, bytes.decode)


def polymarket_apis(_opening: Sequence[bytes]) -> Case:
    """Feed the local book store with the text of each frame, as its socket client does."""
    store = resolve_name("polymarket_apis:LocalOrderBookStore")()
    return Case(_each(store.apply_message_text), lambda: int(not store.valid), bytes.decode)


def nautilus_trader(opening: Sequence[bytes]) -> Case:
    """Give each frame to the adapter's data client, whose results go to an endpoint that drops them."""
    clock = resolve_name("nautilus_trader.common.component:LiveClock")()
    cache = resolve_name("nautilus_trader.cache.cache:Cache")()
    trader = resolve_name("nautilus_trader.model.identifiers:TraderId")("BENCHMARK-001")
    bus = resolve_name("nautilus_trader.common.component:MessageBus")(trader, clock)
    given = _Counter()
    bus.register("DataEngine.process", given.add)
    _add_instruments(cache, opening)
    client = _nautilus_client(bus, cache, clock)
    # It has no public way in: its own socket calls this.
    return Case(_each(client._handle_raw_ws_message), lambda: int(not given.count))  # noqa: SLF001


def _each(take: Callable[[Any], object]) -> Callable[[Iterable[Any]], None]:
    def take_each(frames: Iterable[Any]) -> None:
        for frame in frames:
            take(frame)

    return take_each


class _Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self, _data: object) -> None:
        self.count += 1


def _add_instruments(cache: Any, opening: Sequence[bytes]) -> None:
    instrument = resolve_name("nautilus_trader.adapters.polymarket.common.parsing:parse_polymarket_instrument")
    for message in _messages(opening):
        about = {
            "condition_id": message["market"],
            "question": "?",
            "minimum_tick_size": message["tick_size"],
            "end_date_iso": "",
        }
        cache.add_instrument(instrument(about, message["asset_id"], "Yes", 0))


def _nautilus_client(bus: Any, cache: Any, clock: Any) -> Any:
    adapter = "nautilus_trader.adapters.polymarket"
    http = resolve_name("py_clob_client_v2.client:ClobClient")("http://127.0.0.1:1", chain_id=137)
    provider = resolve_name(f"{adapter}.providers:PolymarketInstrumentProvider")(http, clock)
    config = resolve_name(f"{adapter}.config:PolymarketDataClientConfig")()
    client = resolve_name(f"{adapter}.data:PolymarketDataClient")
    return client(asyncio.new_event_loop(), http, bus, cache, clock, provider, config, None)


def _messages(opening: Sequence[bytes]) -> list[dict[str, Any]]:
    return [message for frame in opening for message in json.loads(frame)]


def _token_ids(opening: Sequence[bytes]) -> list[str]:
    return [message["asset_id"] for message in _messages(opening)]


CASES: dict[str, Factory] = {
    "decode": decode,
    "book": book,
    "ours": ours,
    "paced": paced,
    "hashes": hashes,
    "polymarket-client": polymarket_client,
    "polymarket-apis": polymarket_apis,
    "nautilus-trader": nautilus_trader,
}


def _measure(factory: Factory, opening: Sequence[bytes], frames: Sequence[bytes]) -> dict[str, int]:
    case = factory(opening)
    case.take(map(case.read, opening))
    read = [case.read(frame) for frame in frames]
    gc.collect()
    started = time.process_time_ns()
    for start in range(0, len(read), case.every):
        case.take(read[start : start + case.every])
        if start + case.every <= len(read):
            case.hand_on()
    wrong = case.finish()
    return {"cpu": time.process_time_ns() - started, "wrong": wrong}


def main(name: str, corpus: Path) -> None:
    """Answer each line of the standard input with a measurement."""
    lines = corpus.read_bytes().splitlines()
    opening = list(takewhile(lambda line: line.startswith(b"["), lines))
    frames = lines[len(opening) :]
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(_measure(CASES[name], opening, frames)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
