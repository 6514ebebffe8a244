"""Measure what grows with the number of tokens, of subscriptions and of connections, and should not."""

import argparse
import asyncio
import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, groupby

import polars as pl

from pmlive._session import Session
from pmlive._wire import reader
from pmlive.feed import Pool
from pmlive.feed.connection import FeedConnection
from pmlive.manager.delivery import Registry, deliver
from pmlive.manager.subscriptions import Mailbox, Subscription
from pmlive.pipeline import Pipeline
from pmlive.pipeline.journal import Journal
from pmlive.tables import SCHEMAS

from . import figures
from .load import resident

_MS, _SECOND = 1_000_000, 1_000_000_000
_START = 1_791_000_000_000 * _MS
_RATE = 5_000
_FRAMES = 20_000
_ROWS = 500
_SUBSCRIBED = 10_000
_TIMES = 20
_TOKENS_EACH = 200
# So many states a manager writes at a time.
_STATES = 100


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", default=[10, 1_000, 10_000, 50_000, 312_000])
    parser.add_argument("--subscriptions", type=int, nargs="+", default=[1, 10, 100, 1_000])
    parser.add_argument("--connections", type=int, nargs="+", default=[10, 100, 625, 1_560])
    figures.add_options(parser)
    options = parser.parse_args()
    head = (
        "tokens",
        "us a frame",
        "ms of a cut",
        "ms of its longest part",
        "ms for the counts of a calm minute",
        "memory, MB",
    )
    tokens = figures.table(head, map(_tokens, options.tokens))
    head = ("subscriptions", "us a new row, counted", "us a new row, read")
    subscriptions = figures.table(head, map(_subscriptions, options.subscriptions))
    head = ("connections", "us to place a token", "us a tick of one")
    connections = figures.table(head, (asyncio.run(_connections(each)) for each in options.connections))
    text = f"{figures.setting('polars')}:\n\n{tokens}\n\n{subscriptions}\n\n{connections}"
    figures.show("growth", text, options)


def _took(work: Callable[[], object], times: int = 1) -> float:
    """Return the seconds of processor time that one of so many takes; what was before is not collected meanwhile."""
    gc.collect()
    before = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - before) / times


# --- tokens ---


def _tokens(many: int) -> tuple[object, ...]:
    """Keep evenly active books of ten levels a side, and write their whole state at a cut."""
    before, names = resident(), _names(many)
    pipeline = Pipeline(hashes=False, making="all")
    journal, now = Journal(pipeline), count(_START, _SECOND // _RATE).__next__
    conns = {name: 1 + place // _TOKENS_EACH for place, name in enumerate(names)}
    for conn, carried in groupby(names, key=conns.__getitem__):
        pipeline.opened(conn, "market", carried, now())
    read = reader("market")
    journal.keep = lambda _: None
    for name in names:
        _take(journal, read, _book(name), now(), conns[name])
    pipeline.drain()
    gc.freeze()  # as ``pmlive record`` does
    frames = [(frame, conns[name]) for name, frame in _changes(names, _FRAMES)]
    taken = _took(lambda: [_take(journal, read, frame, now(), conn) for frame, conn in frames]) / len(frames)
    at = now()
    # A manager cuts after a turn, when the counts of a minute were written.
    pipeline.tick(at)
    pipeline.books.take_heard()
    pipeline.books.check_rows(0)
    pipeline.drain()
    cut = _took(lambda: (journal.cut(at), pipeline.drain(), journal.state(at)))
    part = max(_parts(journal), default=0.0)
    minute = _took(lambda: pipeline.books.check_rows(0))
    figures_of = (taken * 1e6, cut * 1e3, part * 1e3, minute * 1e3)
    return f"{many:,}", *(f"{figure:.1f}" for figure in figures_of), f"{resident() - before:.0f}"


def _parts(journal: Journal) -> Iterator[float]:
    """Yield how long each part of the state of a cut takes to be written, as a manager writes it."""
    while journal.is_writing:
        before = time.process_time()
        journal.write_states(_STATES, _START + _SECOND)
        journal.pipeline.drain(parts=True)
        yield time.process_time() - before


def _names(many: int) -> list[str]:
    return [str(10**76 + number) for number in range(many)]


def _take(journal: Journal, read: Callable[[bytes], Sequence[object]], frame: bytes, now: int, conn: int) -> None:
    journal.frame("market", conn, frame, read(frame), now)  # pyright: ignore[reportArgumentType]  # what it reads is events


def _book(name: str) -> bytes:
    bids = ",".join(f'{{"price":"0.{at:02}","size":"100"}}' for at in range(31, 41))
    asks = ",".join(f'{{"price":"0.{at:02}","size":"100"}}' for at in range(60, 50, -1))
    return (
        f'{{"event_type":"book","asset_id":"{name}","market":"0x{name[-8:]}","timestamp":"{_START // _MS}",'
        f'"hash":"","bids":[{bids}],"asks":[{asks}]}}'
    ).encode()


def _changes(names: Sequence[str], many: int) -> Iterator[tuple[str, bytes]]:
    rng = random.Random(1)
    for number in range(many):
        name = rng.choice(names)
        text = (
            f'{{"market":"0x{name[-8:]}","price_changes":[{{"asset_id":"{name}","price":"0.{rng.randint(31, 39)}",'
            f'"size":"{rng.randint(1, 999)}","side":"BUY","hash":"","best_bid":"0.4","best_ask":"0.51"}}],'
            f'"timestamp":"{_START // _MS + 20_000 + number}","event_type":"price_change"}}'
        )
        yield name, text.encode()


# --- subscriptions ---


def _subscriptions(many: int) -> tuple[object, ...]:
    """Hand out new rows of ten thousand tokens, which so many subscriptions have among them."""
    names = _names(_SUBSCRIBED)
    rng, schema = random.Random(1), SCHEMAS["prices"]
    rows = pl.DataFrame({"token_id": rng.choices(names, k=_ROWS)})
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in schema.items() if name != "token_id"]
    frames, registry = {"prices": rows.with_columns(missing).select(list(schema))}, Registry()
    for start in range(0, _SUBSCRIBED, _SUBSCRIBED // many):
        tokens = names[start : start + _SUBSCRIBED // many]
        registry.add(Subscription("market_prices", "market", tokens, selects=tokens))

    def hand_out() -> None:
        deliver(registry, frames, {}, {})

    counted = _took(hand_out, _TIMES)
    for each in registry.active.values():
        each.mailboxes.append(Mailbox(_SUBSCRIBED))
    read = _took(hand_out, _TIMES)
    return f"{many:,}", *(f"{taken / _ROWS * 1e6:.1f}" for taken in (counted, read))


# --- connections ---


async def _connections(many: int) -> tuple[object, ...]:
    """Spread tokens over connections that nobody answers, and tell each of them the time."""
    pool = Pool({"market": "ws://127.0.0.1:9/"}, _Nobody(), clock=time.time_ns)
    names = _names(many * _TOKENS_EACH)
    placed = _took(lambda: pool.want("market", names)) / len(names)
    for connection in pool.connections:
        _open(connection.session)
    taken = _took(lambda: [one.session.tick(time.time_ns()) for one in pool.connections], _TIMES) / many
    await pool.stop()
    return f"{many:,}", f"{placed * 1e6:.2f}", f"{taken * 1e6:.1f}"


def _open(session: Session) -> None:
    """Bring a session to where every book has come."""
    now = time.time_ns()
    session.connected(now)
    session.unwant(())
    session._opening.clear()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    session.to_send()
    session.to_do()


class _Nobody:
    """A sink of connections that never come to be."""

    def opened(self, connection: FeedConnection, conn: int, now: int) -> None: ...
    def received(self, connection: FeedConnection, data: bytes, events: object, now: int) -> None: ...
    def closed(self, connection: FeedConnection, cause: object, detail: str, now: int) -> None: ...
    def late(self, connection: FeedConnection, token_ids: object, since: int) -> None: ...
    def fetch(self, connection: FeedConnection, token_ids: object) -> None: ...
    def witness(self, connection: FeedConnection, since: int) -> None: ...
    def failed(self, connection: FeedConnection, error: object) -> None: ...


if __name__ == "__main__":
    main()
