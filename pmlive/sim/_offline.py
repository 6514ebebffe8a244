"""Messages of simulated markets made without a server: a script for full speed, and a tape with invented times."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from random import Random

import msgspec

from pmlive.sim._exchange import Model
from pmlive.sim._faults import Fault, FaultKind, Faults, Mischief
from pmlive.sim._markets import Market, markets
from pmlive.sim._order_book import Message

__all__ = ["Script", "Tape", "write_script"]


class Script(msgspec.Struct, frozen=True):
    """What happens, and the books by token id: ``opening`` as the socket sends them, ``rest`` and ``final`` as REST."""

    markets: list[Market]
    opening: dict[str, str]
    rest: dict[str, str]
    messages: list[Message]
    final: dict[str, str]


def write_script(
    number: int, *, seed: int, messages: int, depth: int = 20, start: int = 1_790_000_000_000, per_second: int = 30_000
) -> Script:
    """Write at least so many messages of so many markets.

    ``start`` is in milliseconds since 1970 and ``per_second`` is by the venue's clock.
    The same arguments write the same script.

    >>> script = write_script(2, seed=7, messages=100)
    >>> script == write_script(2, seed=7, messages=100), len(script.opening), len(script.messages) >= 100
    (True, 4, True)
    """
    made = markets(number, seed=seed)
    models = [Model(market, depth=depth, now=start) for market in made]
    opening, rest = _books(models, "opening"), _books(models, "rest")
    rng, story = Random(f"{seed}/script"), list[Message]()
    while len(story) < messages:
        story += rng.choice(models).step(start + 1 + len(story) * 1000 // per_second)
    return Script(made, opening, rest, story, _books(models, "rest"))


_MS = 1_000_000
# Messages of one moment arrive so many nanoseconds apart.
_APART = 20_000


class Tape:
    """Writes what a client of simulated markets receives, as the lines that ``pmlive import`` reads.

    Nothing waits and nothing listens: time is what it is told, in milliseconds since 1970 and in order. What is sent
    arrives after about ``delay`` milliseconds, in the order it was sent. ``depth`` is the number of levels a side, and
    ``now`` the time that was told last.

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
        self._models: dict[str, Model] = {}
        self._faults = Faults(clock=lambda: self.now / 1000)
        self._mischief = Mischief(self._faults, seed=seed, duplicates=0.001)
        self.now = self._recv = 0
        self._back: int | None = None

    def add(self, market: Market, at: int, *, belief: Callable[[int], float] | None = None) -> None:
        """Open a market, and subscribe to it; ``belief`` is the chance of its first outcome at a time."""
        self._pass(at)
        self._models[market.slug] = Model(market, depth=self._depth, now=at, belief=belief)
        if self._back is None:
            self._open([market.slug])

    def step(self, slug: str, at: int) -> None:
        """Let one thing happen in a market."""
        self._pass(at)
        self._tell(self._models[slug].step(at))

    def requote(self, slug: str, at: int) -> None:
        """Let the makers of a market follow what is believed at once."""
        self._pass(at)
        self._tell(self._models[slug].requote(at))

    def withdraw(self, slug: str, at: int, *, levels: int = 3) -> None:
        """Let the makers of a market leave until they know more: so many of the best levels a side go."""
        self._pass(at)
        self._tell(self._models[slug].withdraw(at, levels))

    def close(self, slug: str, at: int) -> None:
        """Take away all orders of a market."""
        self._pass(at)
        self._tell(self._models[slug].close(at))

    def resolve(self, slug: str, at: int, *, winner: str | None = None) -> None:
        """End a market; the winner is an outcome's name, by default the one that is ahead."""
        self._pass(at)
        model = self._models[slug]
        index = None if winner is None else model.market.outcomes.index(winner)
        self._tell(model.resolve(at, winner=index))

    def fault(
        self, kind: FaultKind, *, token_id: str | None = None, times: int | None = None, seconds: float | None = None
    ) -> Fault:
        """Disturb what is received, as ``SimulatedVenue.fault`` does."""
        return self._faults.add(kind, channel="market", token_id=token_id, times=times, seconds=seconds)

    def lose(self, at: int, *, seconds: float) -> None:
        """Break the connection, and have another after so many seconds; what happens meanwhile is not received."""
        self._pass(at)
        self._line(self._arrival(0.0), type="disconnected", channel="market")
        self._back = at + round(seconds * 1000)

    def say(self, text: str, recv: int, *, channel: str = "realtime") -> None:
        """Write a frame of another source, with the time at which it was received, in nanoseconds."""
        self._line(recv, channel=channel, raw=text)

    def write(self, path: Path) -> None:
        """Write the lines to a file, in the order in which they were received."""
        path.write_bytes(b"\n".join(sorted(self.lines, key=_received)) + b"\n")

    def _pass(self, at: int) -> None:
        """Let time pass, and the connection come back."""
        if at < self.now:
            raise ValueError(f"times are told in order, and {at} is before {self.now}")
        self.now = at
        if self._back is not None and at >= self._back:
            self.now, self._back = max(self._back, self.now), None
            self._line(self._arrival(0.0), type="connected", channel="market")
            self._open(list(self._models))

    def _open(self, slugs: Sequence[str]) -> None:
        models = [self._models[slug] for slug in slugs if self._models[slug].winner is None]
        books = list(chain.from_iterable((model.state.opening_book(outcome) for outcome in (0, 1)) for model in models))
        if books:
            self._line(self._arrival(self._late()), channel="market", raw=f"[{','.join(books)}]")

    def _tell(self, messages: list[Message]) -> None:
        heard = self._mischief.treat(messages)
        delay = self._late()
        for message in heard if self._back is None else []:
            self._line(self._arrival(delay), channel="market", raw=message.text)

    def _late(self) -> float:
        return self._delay * self._rng.lognormvariate(0.0, 0.35)

    def _arrival(self, delay: float) -> int:
        self._recv = max(self._recv + _APART, self.now * _MS + round(delay * _MS))
        return self._recv

    def _line(self, recv: int, **fields: str) -> None:
        self.lines.append(msgspec.json.encode({"ts_recv": recv, **fields}))


def _books(models: Sequence[Model], form: str) -> dict[str, str]:
    return {
        token: model.state.opening_book(outcome) if form == "opening" else model.state.rest_book(outcome)
        for model in models
        for outcome, token in enumerate(model.market.token_ids)
    }


class _Received(msgspec.Struct):
    ts_recv: int


def _received(line: bytes) -> int:
    return msgspec.json.decode(line, type=_Received).ts_recv
