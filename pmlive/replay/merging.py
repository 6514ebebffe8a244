"""Several recordings told as one: connections keep apart, and a run that begins again lets go of its own alone."""

from collections.abc import Iterator

import msgspec

from pmlive.events import Gap
from pmlive.pipeline.journal import Closed, LinkState, Opened
from pmlive.pipeline.token import TokenState
from pmlive.store import Record

__all__ = ["Voice", "Voices"]


class Voices:
    """The recordings of one merged replay, and which of them has each connection."""

    def __init__(self) -> None:
        self._owners: dict[int, Voice] = {}

    def add(self) -> "Voice":
        """Add a recording."""
        return Voice(self)

    def claim(self, conn: int, voice: "Voice") -> int:
        """Give the number that a recording's connection has among all."""
        number = conn if self._owners.get(conn, voice) is voice else max(self._owners) + 1
        self._owners[number] = voice
        return number


class Voice:
    """One recording among several: its records, as they are told to a pipeline that others are told to as well."""

    def __init__(self, voices: Voices) -> None:
        self._voices = voices
        self._numbers: dict[int, int] = {0: 0}
        # The open connections, and the tokens that are asked for on each (0: on none).
        self._tokens: dict[int, set[str]] = {}

    def said(self, record: Record) -> Iterator[Record]:
        """Tell a record: the others neither end nor are judged with this recording."""
        match record.kind:
            case "begin":
                yield from self._let_go(record)
            case "cut" | "end":
                pass
            case "open" | "link" | "state" | "gap":
                yield self._renumbered(record)
            case _:
                self._note(record)
                yield msgspec.structs.replace(record, conn=self._number(record.conn))

    def _number(self, conn: int) -> int:
        if conn not in self._numbers:
            self._numbers[conn] = self._voices.claim(conn, self)
        return self._numbers[conn]

    def _renumbered(self, record: Record) -> Record:
        """Give a note in which connections are named too its numbers among all."""
        conn = self._number(record.conn)
        note: msgspec.Struct
        match record.kind:
            case "open":
                note = msgspec.json.decode(record.data, type=Opened)
                replaces = None if note.replaces is None else self._number(note.replaces)
                self._tokens.pop(note.replaces or 0, None) if note.replaces else None
                self._tokens.setdefault(record.conn, set()).update(note.keys if note.channel == "market" else ())
                note = msgspec.structs.replace(note, replaces=replaces)
            case "state":
                note = msgspec.json.decode(record.data, type=TokenState)
                self._tokens.setdefault(note.link, set()).add(note.token_id)
                note = msgspec.structs.replace(note, conn=self._number(note.conn), link=self._number(note.link))
            case "link":
                note = msgspec.json.decode(record.data, type=LinkState)
                self._tokens.setdefault(record.conn, set()).update(note.tokens)
                note = note if note.gap is None else msgspec.structs.replace(note, gap=self._gap(note.gap))
            case _:
                note = self._gap(msgspec.json.decode(record.data, type=Gap))
        return msgspec.structs.replace(record, conn=conn, data=msgspec.json.encode(note))

    def _gap(self, gap: Gap) -> Gap:
        return msgspec.structs.replace(gap, conn=self._number(gap.conn))

    def _note(self, record: Record) -> None:
        """Keep in mind which tokens are asked for, and where."""
        if record.kind == "close":
            if msgspec.json.decode(record.data, type=Closed).cause is None:
                self._tokens.pop(record.conn, None)
        elif record.kind in ("want", "subscribe"):
            self._tokens.setdefault(record.conn, set()).update(msgspec.json.decode(record.data, type=list[str]))
        elif record.kind == "unsubscribe":
            self._tokens.setdefault(record.conn, set()).difference_update(
                msgspec.json.decode(record.data, type=list[str])
            )

    def _let_go(self, record: Record) -> Iterator[Record]:
        """End what an earlier run of this recording left open: the new run tells the whole state."""
        for conn, tokens in self._tokens.items():
            number = self._number(conn)
            if tokens:
                data = msgspec.json.encode(sorted(tokens))
                yield Record(record.seq, record.recv, number, "unsubscribe", data)
            if conn:
                yield Record(record.seq, record.recv, number, "close", msgspec.json.encode(Closed(None)))
        self._tokens.clear()
