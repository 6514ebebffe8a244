"""Timelines: the records of one recording, or of several merged as if one recorder had made them, and their markets.

Merged recordings have distinct numbers of connections, and a run that begins ends only the connections of its own
recording.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Literal

import msgspec
import polars as pl

from pmlive.errors import ProtocolError, StoreError, UnknownMarketError
from pmlive.events import Gap
from pmlive.markets import Found, Market, clean, reference
from pmlive.records import (
    FRAMES,
    Closed,
    Kind,
    LinkState,
    Loss,
    Note,
    Opened,
    Parts,
    Record,
    TokenState,
    read_note,
)
from pmlive.store import read_manifest, records, scan, span

__all__ = [
    "RecordedCatalogue",
    "Timeline",
    "recorded_markets",
]


class Timeline:
    """Records in order of receive time, from the beginning or from any time.

    Args:
        folders: recordings; several are merged by receive time.

    Raises:
        StoreError: a folder is not a recording or holds no records, or two recordings have a token at the same time.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        if not folders:
            raise ValueError("no recording is named; give at least one folder")
        self.folders = list(folders)
        self.spans = [_span(folder) for folder in folders]
        self.first = min(first for first, _ in self.spans)
        self.last = max(last for _, last in self.spans)
        # Those of each folder, where there are several.
        self.tokens = [_tokens(folder) for folder in folders] if len(folders) > 1 else []
        self._refuse_overlaps()

    def records(self, since: int | None = None) -> Iterator[Record]:
        """Yield the records from ``since`` (nanoseconds since 1970), after those that show the books at that time."""
        if len(self.folders) == 1:
            return records(self.folders[0], since=since)
        numbering = _Numbering()
        parts = [self._part(_Source(numbering), at, since) for at in range(len(self.folders))]
        return heapq.merge(*parts, key=attrgetter("recv"))

    def _part(self, source: "_Source", at: int, since: int | None) -> Iterator[Record]:
        if since is not None and since > self.spans[at][1]:
            return
        last: Record | None = None
        for record in records(self.folders[at], since=since):
            last = record
            yield from source.merged(record)
        if last is not None and self.spans[at][1] < self.last:
            yield from source.end(last.seq, last.recv)

    def _refuse_overlaps(self) -> None:
        for at, (first, last) in enumerate(self.spans):
            for other in range(at):
                other_first, other_last = self.spans[other]
                common = self.tokens[at] & self.tokens[other]
                if common and first <= other_last and other_first <= last:
                    raise StoreError(
                        f"{str(self.folders[other])!r} and {str(self.folders[at])!r} both hold {len(common)} tokens "
                        f"at the same time, such as {min(common)}; replay them one by one"
                    )


def _span(folder: Path) -> tuple[int, int]:
    found = span(folder)
    if found is None:
        raise StoreError(
            f"{str(folder)!r} holds no raw frames, so there is nothing to replay; its tables can be scanned"
        )
    return found


def _tokens(folder: Path) -> set[str]:
    """Return the tokens that the manifest names or that have a keyframe."""
    named = {str(token) for market in read_manifest(folder).markets for token in _as_list(market.get("token_ids"))}
    booked = scan(folder, "keyframes").select(pl.col("token_id").unique()).collect()
    return named | set(booked["token_id"].to_list())


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]  # as JSON has it


class _Numbering:
    """The numbers of connections in a merged timeline, each with its recording."""

    def __init__(self) -> None:
        self._owners: dict[int, _Source] = {}

    def number(self, conn: int, source: "_Source") -> int:
        """Return the merged number of a recording's connection: the same, or a new one if another recording has it."""
        number = conn if self._owners.get(conn, source) is source else max(self._owners) + 1
        self._owners[number] = source
        return number


class _Source:
    """One recording among several: its records, changed so that one pipeline can take those of all."""

    def __init__(self, numbering: _Numbering) -> None:
        self._numbering = numbering
        self._numbers: dict[int, int] = {0: 0}
        # The tokens that are subscribed, by open connection (0: on none).
        self._tokens: dict[int, set[str]] = {}
        # The connections that broke and were not replaced yet.
        self._broken: set[int] = set()
        # By market, tokens that its messages name beside those that are followed.
        self._beside: dict[str, list[str]] = {}

    def merged(self, record: Record) -> Iterator[Record]:
        """Yield a record, changed so that it does not concern the connections of other recordings."""
        if record.kind in FRAMES:
            yield self._renumbered(record)
            return
        try:
            note = read_note(record)
        except ProtocolError:
            # The pipeline will report that it cannot be read.
            yield self._renumbered(record)
            return
        match note:
            case None:
                if record.kind == Kind.BEGIN:
                    yield from self._end_run(record)
            case Parts():
                self._beside.update(note.beside)
            case Loss():
                if note.beginning:
                    yield from self._end_run(record)
                yield self._with_note(record, self._gap(note.gap), kind=Kind.GAP)
            case _:
                self._remember(record, note)
                yield self._renumbered_note(record, note)

    def end(self, seq: int, recv: int) -> Iterator[Record]:
        """Yield the ends of the connections that are open at the end of this recording, while others continue."""
        data = msgspec.json.encode(Closed("disconnect", "the recording of it ends here"))
        for conn in self._tokens.keys() - self._broken - {0}:
            yield Record(seq, recv, self._number(conn), Kind.CLOSE, data)

    def _number(self, conn: int) -> int:
        if conn not in self._numbers:
            self._numbers[conn] = self._numbering.number(conn, self)
        return self._numbers[conn]

    def _renumbered_note(self, record: Record, note: Note) -> Record:
        """Return a record with the merged numbers of the connections that it and its note name."""
        match note:
            case Opened(replaces=int() as replaces):
                return self._with_note(record, msgspec.structs.replace(note, replaces=self._number(replaces)))
            case TokenState():
                # Places, and rows that were set aside for states, are those of the recording alone.
                numbers = {"conn": self._number(note.conn), "link": self._number(note.link)}
                beside = note.beside or self._beside.get(note.market, [])
                state = msgspec.structs.replace(note, **numbers, beside=beside, place=0, at=0, row=0)
                return self._with_note(record, state)
            case LinkState():
                gap = None if note.gap is None else self._gap(note.gap)
                return self._with_note(record, msgspec.structs.replace(note, gap=gap, at=0))
            case Gap():
                return self._with_note(record, self._gap(note))
            case _:
                return self._renumbered(record)

    def _renumbered(self, record: Record) -> Record:
        return msgspec.structs.replace(record, conn=self._number(record.conn))

    def _with_note(self, record: Record, note: msgspec.Struct, *, kind: str | None = None) -> Record:
        data = msgspec.json.encode(note)
        return msgspec.structs.replace(self._renumbered(record), kind=kind or record.kind, data=data)

    def _gap(self, gap: Gap) -> Gap:
        return msgspec.structs.replace(gap, conn=self._number(gap.conn))

    def _remember(self, record: Record, note: Note) -> None:
        """Note which tokens are subscribed, and on which connections."""
        match note:
            case Opened():
                if note.replaces:
                    self._tokens.pop(note.replaces, None)
                    self._broken.discard(note.replaces)
                self._ask(record.conn, note.keys if note.channel == "market" else ())
            case Closed(cause=None):
                self._tokens.pop(record.conn, None)
            case Closed():
                self._broken.add(record.conn)
            case TokenState():
                self._ask(note.link, (note.token_id,))
            case LinkState():
                self._ask(record.conn, note.tokens)
                if note.gap is not None:
                    self._broken.add(record.conn)
            case list() if record.kind == Kind.UNSUBSCRIBE:
                self._tokens.setdefault(record.conn, set()).difference_update(note)
            case list():
                self._ask(record.conn, note)
            case _:
                pass

    def _ask(self, conn: int, token_ids: Iterable[str]) -> None:
        self._tokens.setdefault(conn, set()).update(token_ids)

    def _end_run(self, record: Record) -> Iterator[Record]:
        """Yield the ends of what an earlier run left open; the new run will note the whole state."""
        for conn, tokens in self._tokens.items():
            number = self._number(conn)
            if tokens:
                data = msgspec.json.encode(sorted(tokens))
                yield Record(record.seq, record.recv, number, Kind.UNSUBSCRIBE, data)
            if conn:
                yield Record(record.seq, record.recv, number, Kind.CLOSE, msgspec.json.encode(Closed(None)))
        self._tokens.clear()
        self._broken.clear()


# --- markets of recordings ---
# The catalogue of a replay: the markets in the manifests of recordings, with the interface of the venue's.

_NAMED = 6


def recorded_markets(folder: Path) -> list[Market]:
    """List the markets in a recording's manifest, with their texts, which are untrusted, cleaned.

    Raises:
        StoreError: the folder is not a recording, or its manifest describes something else.
    """
    try:
        markets = msgspec.convert(read_manifest(folder).markets, type=list[Market])
    except msgspec.ValidationError as error:
        raise StoreError(f"the markets in the manifest of {str(folder)!r} cannot be read ({error})") from error
    return [_cleaned(market) for market in markets]


def _cleaned(market: Market) -> Market:
    texts = {name: clean(getattr(market, name)) for name in ("condition_id", "slug", "event_slug", "question")}
    lists = {name: [clean(text) for text in getattr(market, name)] for name in ("outcomes", "token_ids")}
    return msgspec.structs.replace(market, **texts, **lists)


class RecordedCatalogue:
    """Finds recorded markets by slug, condition id, token id or address, without asking the venue."""

    def __init__(self, markets: Iterable[Market]) -> None:
        self.known: dict[str, Market] = {market.condition_id or market.slug: market for market in markets}

    async def markets(self, texts: Iterable[str]) -> list[Market]:
        """List the markets that some texts identify.

        Raises:
            UnknownMarketError: the recording has no such market.
        """
        found = [market for text in texts for market in self._matching(text)]
        return list({market.condition_id: market for market in found}.values())

    async def found(self, texts: Iterable[str]) -> list[Found]:
        """List the markets that each text identifies.

        Raises:
            UnknownMarketError: the recording has no such market.
        """
        return [Found(text, self._matching(text)) for text in texts]

    async def now(self, _markets: Sequence[Market], _state: Literal["open", "closed"], /) -> list[Market]:
        """Return an empty list: the present state of recorded markets is not known."""
        return []

    async def by_tokens(self, token_ids: Sequence[str]) -> dict[str, Market]:
        """Return the markets of tokens, by token; unknown tokens are left out."""
        wanted = set(token_ids)
        return {token: market for market in self.known.values() for token in market.token_ids if token in wanted}

    def of_series(self, name: str) -> list[Market]:
        """List the markets of a rolling series such as ``btc-updown-5m``."""
        return [market for market in self.known.values() if market.slug.startswith(f"{name}-")]

    def _matching(self, text: str) -> list[Market]:
        meant = reference(text)
        names = {meant.value, text}
        found = [
            market
            for market in self.known.values()
            if names & {market.condition_id, market.slug, market.event_slug, *market.token_ids}
        ]
        exact = [market for market in found if market.event_slug not in names]
        if found:
            return exact or found
        slugs = ", ".join(market.slug or market.condition_id for market in list(self.known.values())[:_NAMED])
        raise UnknownMarketError(f"the recording has no market {text[:100]!r}; it has {slugs or 'none with a name'}")
