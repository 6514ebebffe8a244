"""Whether the two books of a market mirror each other: what is bid for one outcome is asked of the other."""

import msgspec
import polars as pl

from pmlive.recording.contents import collect
from pmlive.recording.known import Known

__all__ = ["Mirror", "mirror"]

_SAME = 1e-9


class Mirror(msgspec.Struct, frozen=True, kw_only=True):
    """How often the best prices of a market's outcomes added up to one dollar, over all moments at which one changed.

    ``worst`` is the largest deviation in dollars.
    """

    moments: int
    mirrored: int
    worst: float

    @property
    def share(self) -> float | None:
        """Give the share of moments at which they did, None where there was none."""
        return self.mirrored / self.moments if self.moments else None


def mirror(known: Known) -> Mirror:
    """Compare the tops of each market's two books whenever one changed while both could be trusted."""
    pairs = [market.token_ids for market in known.markets if len(market.token_ids) == len(("Yes", "No"))]
    tops = known.contents.scan("prices").select("token_id", "ts_recv", "seq", "best_bid", "best_ask")
    rows = collect(
        known.contents, "prices", tops.filter(pl.col("token_id").is_in([each for pair in pairs for each in pair]))
    )
    by_token = {str(token_id): part for (token_id,), part in rows.group_by("token_id", maintain_order=True)}
    moments = mirrored = 0
    worst = 0.0
    for one, other in pairs:
        if one in by_token and other in by_token:
            deviation = _deviation(known, (one, other), (by_token[one], by_token[other]))
            moments += deviation.len()
            mirrored += int((deviation < _SAME).sum())
            worst = max(worst, _most(deviation))
    return Mirror(moments=moments, mirrored=mirrored, worst=round(worst, 9))


def _most(deviation: pl.Series) -> float:
    most = deviation.max()
    return most if isinstance(most, float) else 0.0


def _deviation(known: Known, pair: tuple[str, str], tops: tuple[pl.DataFrame, pl.DataFrame]) -> pl.Series:
    """Give how far bid and ask are from mirroring each other, at each moment that has a change of either."""
    # A message changes both books; only what it leaves counts.
    sides = [top.group_by("ts_recv", maintain_order=True).last().sort("ts_recv") for top in tops]
    times = pl.concat([side.select("ts_recv") for side in sides]).unique().sort("ts_recv")
    joined = times
    for side, suffix in zip(sides, ("", "_other"), strict=True):
        renamed = side.select("ts_recv", pl.col("best_bid", "best_ask").name.suffix(suffix))
        joined = joined.join_asof(renamed, on="ts_recv")
    for token_id in pair:
        joined = _trusted(known, token_id, joined)
    bid = (pl.col("best_ask_other") - (1 - pl.col("best_bid"))).abs()
    ask = (pl.col("best_bid_other") - (1 - pl.col("best_ask"))).abs()
    return joined.select(deviation=pl.max_horizontal(bid, ask))["deviation"].drop_nulls()


def _trusted(known: Known, token_id: str, moments: pl.DataFrame) -> pl.DataFrame:
    timeline = known.timelines.get(token_id)
    spans = [] if timeline is None else timeline.spans()
    frame = pl.DataFrame(
        {"start": [span.start for span in spans], "end": [span.end for span in spans]},
        schema={"start": pl.Int64, "end": pl.Int64},
    ).cast(pl.Datetime("ns", "UTC"))
    joined = moments.join_asof(frame, left_on="ts_recv", right_on="start")
    return joined.filter(pl.col("ts_recv") < pl.col("end")).drop("start", "end")
