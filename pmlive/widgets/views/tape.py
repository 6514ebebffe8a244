"""The last trades of everything that is watched."""

from collections.abc import Mapping
from typing import TypedDict

import polars as pl

from pmlive.manager.glance import short_label

__all__ = ["TapeView", "tape_view"]


class TapeView(TypedDict):
    """The newest trade first: when, of what, at which price and size, and what its taker did."""

    label: str
    times: list[str]
    labels: list[str]
    prices: list[float]
    sizes: list[float]
    sides: list[str]


def tape_view(
    trades: pl.DataFrame, labels: Mapping[str, str], *, token_id: str | None = None, most: int = 30
) -> TapeView:
    """Show the last trades of a token, or of all."""
    its = (trades if token_id is None else trades.filter(pl.col("token_id") == token_id)).tail(most).reverse()
    return {
        "label": "all" if token_id is None else _label(token_id, labels),
        "times": its["ts_recv"].dt.strftime("%H:%M:%S%.3f").to_list(),
        "labels": [_label(each, labels) for each in its["token_id"]],
        "prices": its["price"].to_list(),
        "sizes": its["size"].to_list(),
        "sides": its["side"].cast(pl.String).to_list(),
    }


def _label(token_id: str, labels: Mapping[str, str]) -> str:
    return labels.get(token_id) or short_label(token_id)
