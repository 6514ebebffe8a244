# ruff: noqa: INP001, S311  # a script, and no part of a package; what is made up needs a seed, not secrecy
"""Make ``data/samples/updown``: eighty minutes of five-minute markets on the price of Bitcoin.

What is real: the ticks of Chainlink's BTC/USD with the times at which they were received, the markets there were, and
which outcome won. What is simulated: the order books. Their makers know each tick ``LEAD`` milliseconds before it is
received, as those do who watch an exchange, and quote the chance that the price ends above its start; so an analysis
of who moves first can be compared with the truth. The same source makes the same recording.

The source is one day of Ligengxin96/polymarket-data-samples; data/README.md tells where it is and of what version.
Run it as ``python data/make_updown.py SOURCE [FOLDER]`` with the folder that has the two files named below.
"""

import csv
import gzip
import hashlib
import json
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from math import erf
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from pmlive import Market
from pmlive.captures import import_capture
from pmlive.markets import FeeSchedule
from pmlive.sim import Market as Simulated
from pmlive.sim import Tape, rolling_market

OUT = Path(__file__).parent / "samples"
TICKS, MARKETS = "BTCUSD-prices-2026-07-24.csv.gz", "BTC-5m-markets-2026-07-24.jsonl.gz"
SHA256 = {
    TICKS: "d647dbc498d2313852bbb622c3cfed54a991ce321dfcfcf5293a59d375d85b3a",
    MARKETS: "54c52ca593b3ccc5e2889db3538676103e30ea43aa53ae53d9cb51c1c0adaebe",
}
SEED = 5
START = int(datetime(2026, 7, 24, 16, tzinfo=UTC).timestamp() * 1000)
END = START + 80 * 60_000
# The makers know a tick so many milliseconds before it is received here.
LEAD = 2_000
# What a second moves the price by, in dollars: the standard deviation of that day between 16 and 17 h.
VOLATILITY = 2.05
# A market is listed so long before it starts, and its winner is named so long after its end, in milliseconds.
AHEAD, SETTLED = 15_000, 12_000
# The chance that somebody trades or orders after a tick, besides those who follow the price.
OTHERS = 0.15


class Tick(NamedTuple):
    """A price (dollars), its own time, and when it was sent on and received, in milliseconds."""

    time: int
    value: float
    exact: str
    sent: int
    received: int


class Real(NamedTuple):
    """A market there was: its times in milliseconds, and the outcome that won."""

    slug: str
    start: int
    end: int
    winner: str


def main(source: Path, out: Path = OUT) -> None:
    """Write the recording into a folder."""
    ticks, real = read_ticks(source), read_markets(source)
    tape = Tape(seed=SEED, depth=8, delay=25.0)
    simulated = play(ticks, real, tape)
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "updown.jsonl"
        tape.write(capture)
        import_capture(capture, out / "updown", markets=[_described(market) for market in simulated], level=19)
    tidy(out / "updown")


def read_ticks(source: Path) -> list[Tick]:
    """Read the ticks that were received in that time, in the order in which they were."""
    with gzip.open(_checked(source / TICKS), "rt", encoding="utf-8") as file:
        rows = [
            Tick(
                int(row["feed_ts_ms"]),
                float(row["value"]),
                row["full_accuracy_value"],
                int(row["server_ts_ms"]),
                int(row["recv_ms"]),
            )
            for row in csv.DictReader(file)
        ]
    return sorted((row for row in rows if START - 60_000 <= row.received < END + 60_000), key=lambda row: row.received)


def read_markets(source: Path) -> list[Real]:
    """Read the markets that began in that time."""
    with gzip.open(_checked(source / MARKETS), "rt", encoding="utf-8") as file:
        rows = map(json.loads, file)
        made = [
            Real(
                row["slug"],
                row["start_sec"] * 1000,
                row["end_sec"] * 1000,
                json.loads(row["raw"]["outcomes"])[row["outcome_prices"].index("1")],
            )
            for row in rows
        ]
    return sorted(market for market in made if START <= market.start < END)


def play(ticks: list[Tick], real: list[Real], tape: Tape) -> list[Simulated]:
    """Let the time pass, and give the markets."""
    rng, known = Random(f"{SEED}/updown"), [tick.received - LEAD for tick in ticks]
    open_markets: list[Real] = []
    simulated: list[Simulated] = []
    for tick in ticks:
        tape.say(_message(tick), tick.received * 1_000_000)
    for due, what, market in sorted(_happenings(known, real)):
        at = max(due, tape.now)
        if what == "add" and market is not None:
            made = rolling_market(market.slug, seed=SEED) or _none(market.slug)
            simulated.append(made)
            tape.add(made, at, belief=_belief(ticks, known, market))
            open_markets.append(market)
        elif what == "close" and market is not None:
            tape.close(market.slug, at)
            open_markets.remove(market)
        elif what == "resolve" and market is not None:
            tape.resolve(market.slug, at, winner=market.winner)
        else:
            _follow(tape, open_markets, at, rng)
    return simulated


def _happenings(known: list[int], real: list[Real]) -> Iterator[tuple[int, str, Real | None]]:
    for market in real:
        yield market.start - AHEAD, "add", market
        yield market.end, "close", market
        yield market.end + SETTLED, "resolve", market
    yield from ((at, "tick", None) for at in known if START <= at < END)


def _follow(tape: Tape, markets: list[Real], at: int, rng: Random) -> None:
    """Let the makers of every open market take in a tick, and sometimes somebody else act."""
    for market in markets:
        now = max(at, tape.now) + rng.randrange(15, 45)
        tape.requote(market.slug, now)
        if rng.random() < OTHERS:
            tape.step(market.slug, now + rng.randrange(100, 400))


def _belief(ticks: list[Tick], known: list[int], market: Real) -> Callable[[int], float]:
    """Give the chance that the price ends at or above its start, of a walk that has no drift."""
    strike = next(tick.value for tick in ticks if tick.time >= market.start)

    def chance(at: int) -> float:
        if at < market.start:
            return 0.5
        now = ticks[max(bisect_right(known, at) - 1, 0)].value
        left = max(market.end - at, 1000) / 1000
        return min(max((1 + erf((now - strike) / (VOLATILITY * (2 * left) ** 0.5))) / 2, 0.002), 0.998)

    return chance


def _message(tick: Tick) -> str:
    """Write a tick as the real-time socket sends it."""
    payload = {"symbol": "btc/usd", "timestamp": tick.time, "value": tick.value, "full_accuracy_value": tick.exact}
    envelope = {"topic": "crypto_prices_chainlink", "type": "update", "timestamp": tick.sent, "payload": payload}
    return msgspec.json.encode(envelope).decode()


def _described(market: Simulated) -> Market:
    return Market(
        condition_id=market.condition_id,
        slug=market.slug,
        event_slug=market.event_slug,
        question=f"{market.question} (simulated book)",
        outcomes=list(market.outcomes),
        token_ids=list(market.token_ids),
        tick_size=str(market.tick_size),
        min_order_size=str(market.min_order_size),
        neg_risk=False,
        neg_risk_augmented=False,
        end_date=datetime.fromtimestamp(market.end or 0, UTC),
        fees=FeeSchedule(enabled=True, rate=market.fee_rate, exponent=1),
    )


def tidy(folder: Path) -> None:
    """Leave out what only a recorder needs."""
    (folder / ".lock").unlink(missing_ok=True)
    (folder / "wal").rmdir()


def _checked(path: Path) -> Path:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256[path.name]:
        raise ValueError(f"{path.name} is another version than the sample was made of: its SHA-256 is {found}")
    return path


def _none(slug: str) -> Simulated:
    raise ValueError(f"{slug!r} names no market of a rolling series")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
