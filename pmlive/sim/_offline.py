"""Messages of simulated markets made without a server: a script to be sent at full speed, a tape with its own clock."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from random import Random

import msgspec

from pmlive.sim._exchange import MarketModel
from pmlive.sim._faults import Fault, FaultKind, Faults, MessageFaults
from pmlive.sim._markets import Market, MarketMessage, markets

__all__ = ["Script", "Tape", "write_script"]

_NS_PER_MS = 1_000_000
# Nanoseconds between the arrivals of messages that were sent together.
_SPACING = 20_000


class Script(msgspec.Struct, frozen=True):
    """Prepared messages, and books by token id: ``opening`` as the socket has them, ``rest`` and ``final`` as REST."""

    markets: list[Market]
    opening: dict[str, str]
    rest: dict[str, str]
    messages: list[MarketMessage]
    final: dict[str, str]


def write_script(
    number: int, *, seed: int, messages: int, depth: int = 20, start: int = 1_790_000_000_000, per_second: int = 30_000
) -> Script:
    """Write at least ``messages`` messages of ``number`` markets; the same arguments write the same script.

    ``start`` is in milliseconds since 1970, and ``per_second`` the number of messages in a second of the venue's clock.

    >>> script = write_script(2, seed=7, messages=100)
    >>> script == write_script(2, seed=7, messages=100), len(script.opening), len(script.messages) >= 100
    (True, 4, True)
    """
    listed = markets(number, seed=seed)
    models = [MarketModel(market, depth=depth, now=start) for market in listed]
    opening, rest = _books(models, "opening"), _books(models, "rest")
    rng, sent = Random(f"{seed}/script"), list[MarketMessage]()
    while len(sent) < messages:
        sent += rng.choice(models).step(start + 1 + len(sent) * 1000 // per_second)
    return Script(listed, opening, rest, sent, _books(models, "rest"))


class Tape:
    """What a client of simulated markets receives, as lines that ``pmlive import`` reads.

    Nothing waits or listens: each call states its time, in milliseconds since 1970, and times must not go back.
    Messages arrive after about ``delay`` milliseconds, in the order in which they were sent. ``depth`` is the number of
    levels of each side, and ``now`` the time of the last call.

    >>> from pmlive.sim import rolling_market
    >>> tape = Tape(seed=7)
    >>> tape.add(rolling_market("btc-updown-5m-1791127800", seed=7), 1_791_127_800_000)
    >>> tape.step("btc-updown-5m-1791127800", 1_791_127_800_250)
    >>> len(tape.lines)
    2
    """

    def __init__(self, *, seed: int = 7, depth: int = 20, delay: float = 30.0) -> None:
        self.lines: list[bytes] = []
        self._rng = Random(f"{seed}/tape")
        self._depth = depth
        self._delay = delay
        self._models: dict[str, MarketModel] = {}
        self._faults = Faults(clock=lambda: self.now / 1000)
        self._message_faults = MessageFaults(self._faults, seed=seed, duplicates=0.001)
        self.now = self._last_recv = 0
        self._reconnect_at: int | None = None

    def add(self, market: Market, at: int, *, belief: Callable[[int], float] | None = None) -> None:
        """Open a market and subscribe to it; ``belief`` returns the probability of its first outcome at a time."""
        self._advance(at)
        self._models[market.slug] = MarketModel(market, depth=self._depth, now=at, belief=belief)
        if self._reconnect_at is None:
            self._subscribe([market.slug])

    def step(self, slug: str, at: int) -> None:
        """Do one random thing in a market."""
        self._advance(at)
        self._receive(self._models[slug].step(at))

    def requote(self, slug: str, at: int) -> None:
        """Let the makers of a market follow the probability at once."""
        self._advance(at)
        self._receive(self._models[slug].requote(at))

    def withdraw(self, slug: str, at: int, *, levels: int = 3) -> None:
        """Let the makers of a market withdraw under uncertainty: cancel the best ``levels`` of each side."""
        self._advance(at)
        self._receive(self._models[slug].withdraw(at, levels))

    def close(self, slug: str, at: int) -> None:
        """Cancel every order of a market."""
        self._advance(at)
        self._receive(self._models[slug].close(at))

    def resolve(self, slug: str, at: int, *, winner: str | None = None) -> None:
        """Resolve a market; the winner is an outcome's name, by default the one that is ahead."""
        self._advance(at)
        model = self._models[slug]
        index = None if winner is None else model.market.outcomes.index(winner)
        self._receive(model.resolve(at, winner=index))

    def fault(
        self, kind: FaultKind, *, token_id: str | None = None, times: int | None = None, seconds: float | None = None
    ) -> Fault:
        """Add a fault to what is received, as ``SimulatedVenue.fault`` does."""
        return self._faults.add(kind, channel="market", token_id=token_id, times=times, seconds=seconds)

    def lose(self, at: int, *, seconds: float) -> None:
        """Break the connection for some seconds; what is sent meanwhile is not received."""
        self._advance(at)
        self._append(self._next_arrival(0.0), type="disconnected", channel="market")
        self._reconnect_at = at + round(seconds * 1000)

    def say(self, text: str, recv: int, *, channel: str = "realtime") -> None:
        """Write a frame of another source, received at ``recv`` (nanoseconds)."""
        self._append(recv, channel=channel, raw=text)

    def write(self, path: Path) -> None:
        """Write the lines to a file, in the order in which they were received."""
        path.write_bytes(b"\n".join(sorted(self.lines, key=_receive_time)) + b"\n")

    def _advance(self, at: int) -> None:
        """Set the time, and reconnect where that is due."""
        if at < self.now:
            raise ValueError(f"invalid time {at}; expected {self.now} or later, as times must not go back")
        self.now = at
        if self._reconnect_at is not None and at >= self._reconnect_at:
            self.now, self._reconnect_at = max(self._reconnect_at, self.now), None
            self._append(self._next_arrival(0.0), type="connected", channel="market")
            self._subscribe(list(self._models))

    def _subscribe(self, slugs: Sequence[str]) -> None:
        models = [self._models[slug] for slug in slugs if self._models[slug].winner is None]
        books = list(chain.from_iterable((model.state.opening_book(outcome) for outcome in (0, 1)) for model in models))
        if books:
            self._append(self._next_arrival(self._draw_delay()), channel="market", raw=f"[{','.join(books)}]")

    def _receive(self, messages: list[MarketMessage]) -> None:
        received = self._message_faults.apply(messages)
        delay = self._draw_delay()
        for message in received if self._reconnect_at is None else []:
            self._append(self._next_arrival(delay), channel="market", raw=message.text)

    def _draw_delay(self) -> float:
        return self._delay * self._rng.lognormvariate(0.0, 0.35)

    def _next_arrival(self, delay: float) -> int:
        self._last_recv = max(self._last_recv + _SPACING, self.now * _NS_PER_MS + round(delay * _NS_PER_MS))
        return self._last_recv

    def _append(self, recv: int, **fields: str) -> None:
        self.lines.append(msgspec.json.encode({"ts_recv": recv, **fields}))


def _books(models: Sequence[MarketModel], form: str) -> dict[str, str]:
    return {
        token: model.state.opening_book(outcome) if form == "opening" else model.state.rest_book(outcome)
        for model in models
        for outcome, token in enumerate(model.market.token_ids)
    }


class _ReceivedLine(msgspec.Struct):
    ts_recv: int


def _receive_time(line: bytes) -> int:
    return msgspec.json.decode(line, type=_ReceivedLine).ts_recv
