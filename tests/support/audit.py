"""What the simulated venue really sent, against what a recording says."""

import json
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import cast

import polars as pl

from pmlive.sim import SimulatedVenue
from pmlive.store import scan

__all__ = ["Audit"]

# Clocks of both sides are the same computer's; the venue's are in milliseconds.
_SLACK = timedelta(milliseconds=60)
Change = tuple[str, str, float, float, int, str]


class Audit:
    """Compare every level change that was sent with the rows of ``book_deltas``, and what is missing with ``gaps``."""

    def __init__(self, sim: SimulatedVenue, folder: Path, tokens: Iterable[str]) -> None:
        self.tokens = set(tokens)
        self.deltas = scan(folder, "book_deltas").collect()
        self.gaps = scan(folder, "gaps").collect()
        self.checks = scan(folder, "checks").collect()
        self.kept = [
            (token, side, price, size, time)
            for token, side, price, size, time in self.deltas.select(
                "token_id", "side", "price", "size", pl.col("ts_event").dt.epoch("ms")
            ).iter_rows()
        ]
        frames = [list(self._frames(texts)) for texts in sim.delivered.values()]
        self.sent = [change for sent in frames for change in self._arrived(sent)]
        # The venue says a thing again right after it; a level that comes back to a size in between is no repetition.
        self.repeated = [
            change
            for sent in frames
            for frame, before in zip(sent[1:], sent, strict=False)
            if sorted(frame) == sorted(before)
            for change in frame
        ]
        self.withheld = [change for frame in self._frames(sim.withheld) for change in frame]

    @property
    def last(self) -> int:
        """Give the time of the last change that was kept; what was sent after that came after the end."""
        return max(change[4] for change in self.kept)

    def _arrived(self, frames: Iterable[list[Change]]) -> list[Change]:
        """List what a connection sent but for its end, which was still on its way when all was closed."""
        changes, kept = [change for frame in frames for change in frame], set(self.kept)
        while changes and changes[-1][4] >= self.last and changes[-1][:5] not in kept:
            changes.pop()
        return changes

    def _frames(self, texts: Iterable[str]) -> Iterable[list[Change]]:
        for text in texts:
            try:
                frame = json.loads(text)
            except ValueError:
                continue
            for message in cast("list[object]", frame if isinstance(frame, list) else [frame]):
                if isinstance(message, dict) and "price_changes" in message:
                    yield list(self._entries(cast("dict[str, object]", message)))

    def _entries(self, message: dict[str, object]) -> Iterable[Change]:
        for entry in cast("list[dict[str, str]]", message["price_changes"]):
            if entry["asset_id"] in self.tokens and _is_sound(entry):
                side = "bid" if entry["side"] == "BUY" else "ask"
                level = (float(entry["price"]), float(entry["size"]))
                yield (entry["asset_id"], side, *level, int(str(message["timestamp"])), entry["hash"])

    @property
    def unkept(self) -> list[Change]:
        """List what was sent and has no row."""
        kept = set(self.kept)
        return [change for change in self.sent if change[:5] not in kept and change[4] <= self.last]

    @property
    def unexplained(self) -> list[Change]:
        """List what was sent or withheld, has no row, and lies in no gap."""
        withheld = [change for change in self.withheld if change[4] <= self.last and not self._is_overwritten(change)]
        return [change for change in [*self.unkept, *withheld] if not self.is_in_a_gap(change[0], change[4])]

    @property
    def overwritten(self) -> int:
        """The number of withheld changes of a level that was soon set anew, with nothing called verified between."""
        return sum(map(self._is_overwritten, self.withheld))

    def _is_overwritten(self, change: Change) -> bool:
        """Tell whether the level was soon set anew, and nothing in between was called verified.

        One doubtful state that the next one clears up is unverifiable and no gap: the row says so.
        """
        same_level = (one[4] for one in self.sent if one[:3] == change[:3] and one[4] > change[4])
        anew = min(same_level, default=None)
        if anew is None:
            return False
        between = self.deltas.filter(
            pl.col("token_id") == change[0],
            pl.col("ts_event").dt.epoch("ms").is_between(change[4], anew, closed="none"),
        )
        return not (between["check"] == "verified").any()

    @property
    def invented(self) -> list[tuple[object, ...]]:
        """List rows of what nobody sent."""
        sent = {change[:5] for change in self.sent}
        return [row for row in self.kept if row not in sent]

    @property
    def doubled(self) -> list[tuple[object, ...]]:
        """List rows that are there more often than they were said, repetitions aside.

        A venue that catches up may take a level away, bring it back and take it away again within one millisecond, so
        that two rows are alike but for their place.
        """
        said = Counter(change[:5] for change in self.sent)
        said.subtract(Counter(change[:5] for change in self.repeated))
        return list((Counter(self.kept) - said).elements())

    def is_in_a_gap(self, token: str, time: int) -> bool:
        at = pl.from_epoch(pl.lit(time), "ms").dt.replace_time_zone("UTC")
        covering = self.gaps.filter(
            (pl.col("token_id") == token) | pl.col("token_id").is_null(),
            pl.col("started") - _SLACK <= at,
            pl.col("ended").is_null() | (pl.col("ended") + _SLACK >= at),
        )
        return covering.height > 0

    @property
    def mismatches(self) -> int:
        return int(self.checks.select(pl.sum_horizontal(pl.col("^.*_mismatch$").sum())).item() or 0)


def _is_sound(entry: dict[str, str]) -> bool:
    try:
        return 0 <= float(entry["price"]) <= 1
    except ValueError:
        return False
