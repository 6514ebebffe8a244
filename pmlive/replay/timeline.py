"""The records of one recording, or of several as if one recorder had made them."""

import heapq
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path

import polars as pl

from pmlive.errors import StoreError
from pmlive.replay.merging import Voice, Voices
from pmlive.store import Record, read_manifest, records, scan, span

__all__ = ["Timeline"]


class Timeline:
    """Records in order of receive time, from the beginning or from any time on.

    Args:
        folders: recordings; several are merged by receive time.

    Raises:
        StoreError: a folder is no recording or has no record, or two recordings hold the same token at the same time.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        if not folders:
            raise ValueError("no recording is named; give at least one folder")
        self.folders = list(folders)
        self.spans = [_span(folder) for folder in folders]
        self.first = min(first for first, _ in self.spans)
        self.last = max(last for _, last in self.spans)
        if len(folders) > 1:
            self._refuse_doubles()

    def records(self, since: int | None = None) -> Iterator[Record]:
        """Yield the records; what comes before ``since`` (nanoseconds since 1970) tells what the books were then."""
        if len(self.folders) == 1:
            return records(self.folders[0], since=since)
        voices = Voices()
        parts = [self._part(voices.add(), at, since) for at in range(len(self.folders))]
        return heapq.merge(*parts, key=attrgetter("recv"))

    def _part(self, voice: Voice, at: int, since: int | None) -> Iterator[Record]:
        if since is not None and since > self.spans[at][1]:
            return
        last: Record | None = None
        for record in records(self.folders[at], since=since):
            last = record
            yield from voice.said(record)
        if last is not None and self.spans[at][1] < self.last:
            yield from voice.end(last.seq, last.recv)

    def _refuse_doubles(self) -> None:
        tokens = [_tokens(folder) for folder in self.folders]
        for at, (first, last) in enumerate(self.spans):
            for other in range(at):
                other_first, other_last = self.spans[other]
                common = tokens[at] & tokens[other]
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
    """List the tokens that a recording names, or has a book of."""
    named = {str(token) for market in read_manifest(folder).markets for token in _listed(market.get("token_ids"))}
    booked = scan(folder, "keyframes").select(pl.col("token_id").unique()).collect()
    return named | set(booked["token_id"].to_list())


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]  # as JSON has it
