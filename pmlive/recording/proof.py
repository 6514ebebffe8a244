"""Proof of recorded books: when the venue's hash was last known to fit a token's book, and when it no longer was."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from pmlive.recording.contents import Contents, collect
from pmlive.recording.trust import Timeline

__all__ = ["MINUTE", "ProofHistory", "proof_history"]

MINUTE = 60_000_000_000
# A state is checked so many nanoseconds after its change at the latest.
_JUDGED_WITHIN = 200_000_000


class ProofHistory(msgspec.Struct, frozen=True):
    """The moments, in order, at which the book of a token was proved (``fits``) or could not be."""

    times: npt.NDArray[np.int64]
    fits: npt.NDArray[np.bool_]

    def holds(self, times: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Tell at which times the state that was checked last had the venue's hash."""
        return np.concatenate([[False], self.fits])[np.searchsorted(self.times, times, side="right")]

    def last(self, time: int) -> int | None:
        """Return when, up to a time, the venue's hash fitted last."""
        proved = self.times[self.fits & (self.times <= time)]
        return int(proved[-1]) if len(proved) else None


def proof_history(
    contents: Contents, timeline: Timeline, changes: pl.DataFrame, *, since: int | None, until: int
) -> ProofHistory:
    """Find out what is known of the hashes of a token's books between two times, both included.

    Rows of level changes tell it of single states, keyframes of the time at which they were written, and the counts of
    a minute in which every hash fitted of whole books, too, of which no row tells.

    Args:
        contents: what the recording holds.
        timeline: the token, and when it was let go: one that is followed anew has nothing proved.
        changes: its rows of ``book_deltas`` between these times.
        since: nanoseconds since 1970; None for the beginning.
        until: nanoseconds since 1970.
    """
    keyframes = _keyframes(contents, timeline.token_id, since, until)
    minutes = _minutes(contents, timeline.token_id, since, until)
    gone = [(event.recv, event.seq) for event in timeline.events if event.kind in ("absent", "restart", "let go")]
    anew = pl.DataFrame(gone, schema={"time": pl.Int64, "seq": pl.UInt64}, orient="row").with_columns(
        fits=pl.lit(value=False)
    )
    # Within its minute, a keyframe says more than the counts, and they are not of a token that was followed anew.
    marks = np.sort(np.concatenate([keyframes["time"].to_numpy(), anew["time"].to_numpy()]))
    before = np.searchsorted(marks, minutes["time"].to_numpy() - MINUTE, side="right")
    alone = minutes.filter(pl.Series(before == np.searchsorted(marks, minutes["time"].to_numpy(), side="right")))
    whole = pl.concat([_states(changes), keyframes, alone, anew]).filter(pl.col("time") <= until).sort("time", "seq")
    return ProofHistory(whole["time"].to_numpy(), whole["fits"].to_numpy())


def _states(changes: pl.DataFrame) -> pl.DataFrame:
    """List what came of the last state of each of the venue's milliseconds, which is the one that is checked."""
    recv, check = pl.col("ts_recv").dt.epoch("ns"), pl.col("check").cast(pl.String)
    judged = changes.filter(check != "skipped").sort("seq")
    states = judged.group_by(pl.col("ts_event").rle_id(), maintain_order=True).agg(
        pl.col("seq").last(), begins=recv.first(), ends=recv.last(), fits=check.last() == "verified"
    )
    unproved = pl.min_horizontal(pl.col("ends") + _JUDGED_WITHIN, pl.col("begins").shift(-1))
    time = pl.when("fits").then("ends").otherwise(unproved)
    return states.select(time.alias("time"), "seq", "fits")


def _keyframes(contents: Contents, token_id: str, since: int | None, until: int) -> pl.DataFrame:
    rows = contents.scan("keyframes", since=since, until=until).filter(pl.col("token_id") == token_id)
    moments = rows.select(
        pl.col("ts_recv").dt.epoch("ns").alias("time"), "seq", fits=pl.col("state").cast(pl.String) == "verified"
    )
    return collect(contents, "keyframes", moments).sort("time", "seq")


def _minutes(contents: Contents, token_id: str, since: int | None, until: int) -> pl.DataFrame:
    """List the ends of minutes in which hashes fitted, and none did not."""
    rows = contents.scan("checks", since=since, until=until - MINUTE).filter(pl.col("token_id") == token_id)
    # A minute in which a recording was begun or a token was let go has more than one row.
    counts = rows.group_by("ts_recv").agg(pl.sum("hash_verified", "hash_unverifiable", "hash_mismatch"))
    is_proved = (pl.col("hash_verified") > 0) & (pl.col("hash_unverifiable") == 0) & (pl.col("hash_mismatch") == 0)
    ends = counts.filter(is_proved).select(
        # Whatever else is known of that very moment says more.
        (pl.col("ts_recv").dt.epoch("ns") + MINUTE).alias("time"),
        seq=pl.lit(0, pl.UInt64),
        fits=pl.lit(value=True),
    )
    return collect(contents, "checks", ends).sort("time")
