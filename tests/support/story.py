"""Random nights: everything that can happen to two markets on two connections, told to a journal."""

from random import Random

from support.night import Night
from support.venue import Venue, price_change

__all__ = ["Story"]


class Story:
    """One random thing after another; the same random numbers tell the same story."""

    def __init__(
        self, random: Random, night: Night | None = None, *, at: float = 0, conn: int = 1, markets: str = "12"
    ) -> None:
        self.random = random
        self.night = night or Night()
        self.at = at
        self.conn = conn
        self.broken: int | None = None
        self.markets = markets
        self.venues = {f"{name}{side}": Venue(f"{name}{side}", f"0xm{name}") for name in markets for side in "12"}
        self.answers: list[bytes] = []
        self.said: list[tuple[float, str]] = []

    def begin(self) -> None:
        self.night.open(self.at, self.conn, list(self.venues))
        for venue in self.venues.values():
            venue.changed = int(self.at)
            if self.random.random() < 0.9:
                self.night.frame(self.at, venue.opening(), self.conn)

    def step(self) -> None:
        """Let time pass, and one thing happen."""
        self.at += self.random.choice((0, 0.4, 1, 3, 20, 80, 140, 700, 1500, 20_000))
        happening = self.random.choices(
            (self.change, self.book, self.trade, self.repeat, self.lie, self.spoil, self.word, self.lose, self.rest),
            (30, 6, 4, 4, 4, 2, 1, 4, 3),
        )[0]
        if self.random.random() < 0.06:
            happening = self.random.choice((self.reconnect, self.resubscribe, self.late, self.mislay))
        happening()

    def _any(self) -> Venue:
        return self.random.choice(list(self.venues.values()))

    def _text(self, **said: str) -> str:
        market = self.random.choice(self.markets)
        at = int(self.at)
        size = self.random.choice(("0", "1", "2.5", "7", "10"))
        cents = self.random.randint(1, 45)
        yes, no = self.venues[f"{market}1"], self.venues[f"{market}2"]
        first = {**yes.entry("bid", f"0.{cents:02d}", size, at), **said}
        entries = [first, no.entry("ask", f"0.{100 - cents:02d}", size, at)]
        return price_change(*entries[:: self.random.choice((1, -1))], at=at, market=yes.market)

    def _hear(self, text: str) -> None:
        self.said = [*self.said[-3:], (self.at, text)]
        self.night.frame(self.at, text, self.conn)

    def change(self) -> None:
        self._hear(self._text())

    def lose(self) -> None:
        self._text()

    def mislay(self) -> None:
        first, second = self._text(), self._text()
        self._hear(second)
        self._hear(first)

    def lie(self) -> None:
        self._hear(self._text(**self.random.choice(({"hash": "00" * 20}, {"best_bid": "0.77"}, {"hash": ""}))))

    def spoil(self) -> None:
        broken = self.random.choice(({"price": "NaN"}, {"price": "1.5"}, {"size": "-1"}, {"side": "HOLD"}))
        self._hear(self.random.choice((self._text(**broken), self._text()[:-9], '{"event_type":"weather"}')))

    def repeat(self) -> None:
        # The venue repeats itself within milliseconds; what is older than a second, a keyframe does not hold.
        recent = [text for at, text in self.said if at > self.at - 900]
        if recent:
            self.night.frame(self.at, self.random.choice(recent), self.conn)

    def book(self) -> None:
        self._hear(self._any().later(self.random.choice((None, None, None, "ab" * 20))))

    def trade(self) -> None:
        self._hear(self._any().trade(self.random.choice(("0.42", "0.5", ".48")), int(self.at)))

    def word(self) -> None:
        self.night.frame(self.at, "PONG", self.conn)

    def rest(self) -> None:
        # REST may answer with what it had some time ago.
        self.answers = [*self.answers[-5:], self._any().rest()]
        self.night.note(self.at, "book", self.random.choice(self.answers), self.conn)

    def late(self) -> None:
        self.night.gap(
            self.at, self.random.choice(("late opening book", "silence")), self._any().token, since=self.at - 1
        )

    def resubscribe(self) -> None:
        token = self._any().token
        self.night.note(self.at, "unsubscribe", [token], self.conn)
        self.night.note(self.at + 1, "subscribe", [token], self.conn)
        self.at += 1

    def reconnect(self) -> None:
        self.night.close(self.at, self.conn, self.random.choice(("disconnect", "silence", None)))
        broken = self.conn if self.conn in self.night.pipeline.links else None
        self.conn += 1
        self.at += self.random.choice((5, 300, 70_000))
        self.night.open(self.at, self.conn, list(self.venues), old=broken)
        for venue in self.venues.values():
            if self.random.random() < 0.8:
                self.night.frame(self.at, venue.opening(), self.conn)
