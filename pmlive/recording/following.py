"""When each token was followed, and when in that time its book could be trusted."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from pmlive.recording.trust import Span, Timeline

__all__ = ["distrust", "followed", "intervals"]

_MINUTE = 60_000_000_000
_TIME = pl.Datetime("ns", "UTC")


def followed(timeline: Timeline) -> list[Span]:
    """List when a book was wanted: from the first that is known of it until it was let go, pauses included."""
    found: list[Span] = []
    own = [gap.started for gap in timeline.gaps if gap.token_id is not None]
    start: int | None = min([*own[:1], *(event.recv for event in timeline.events[:1])], default=None)
    for event in timeline.events:
        gone = event.kind in ("let go", "absent")
        if gone and start is not None:
            found.append(Span(start, max(start, event.recv)))
            start = None
        elif not gone and start is None:
            start = event.recv
    if start is not None:
        found.append(Span(start, max(start, timeline.end)))
    return found


def intervals(timelines: Mapping[str, Timeline]) -> pl.DataFrame:
    """Cut the time that each token was followed where trust in its book begins or ends."""
    rows = [(token_id, span.start, span.end, trusted) for token_id, span, trusted in _cut(timelines)]
    schema = {"token_id": pl.String, "start": pl.Int64, "end": pl.Int64, "trusted": pl.Boolean}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("start", "end").cast(_TIME))
    return frame.sort("token_id", "start")


def distrust(timelines: Mapping[str, Timeline]) -> pl.DataFrame:
    """List the minutes, of the time that a token was followed, in which its book could not be trusted throughout."""
    rows = {
        (token_id, minute)
        for token_id, span, trusted in _cut(timelines)
        if not trusted
        for minute in range(span.start // _MINUTE * _MINUTE, span.end, _MINUTE)
    }
    frame = pl.DataFrame(sorted(rows), schema={"token_id": pl.String, "minute": pl.Int64}, orient="row")
    return frame.with_columns(pl.col("minute").cast(_TIME))


def _cut(timelines: Mapping[str, Timeline]) -> Iterator[tuple[str, Span, bool]]:
    for token_id, timeline in timelines.items():
        trusted = timeline.spans()
        yield from ((token_id, span, True) for span in trusted)
        for wanted in followed(timeline):
            yield from ((token_id, span, False) for span in _untrusted(wanted, trusted))


def _untrusted(wanted: Span, trusted: Sequence[Span]) -> Iterator[Span]:
    """Give what is left of an interval without those that could be trusted."""
    start = wanted.start
    for span in [*trusted, Span(wanted.end, wanted.end)]:
        end = min(span.start, wanted.end)
        if end > start:
            yield Span(start, end)
        start = max(start, span.end)
