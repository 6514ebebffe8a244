"""A figure of how far methods agree on the signs of trades."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from pmlive.analysis.plots._axes import finish, known, new_axes

__all__ = ["agreement_plot"]

_PAIRS = "shares of pairs of methods, such as sign_agreement(trades, prices)"
# Above this share a cell is light, and its number dark.
_LIGHT = 0.8


def agreement_plot(agreement: pl.DataFrame, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw the share of the volume on which each two methods agree, as a table with colours from half to all.

    ``agreement`` is that of ``sign_agreement``. Half is what guesses of a coin would have. A pair without trades that
    both could sign has no number.

    Raises:
        ValueError: there are no pairs, none has a share, or a column is missing.
    """
    rows = known(agreement, ("method", "other", "share_of_volume"), give=_PAIRS)
    names = agreement["method"].unique(maintain_order=True).to_list()
    shares = {(one, other): share for one, other, share in rows.select("method", "other", "share_of_volume").rows()}
    table = np.array([[shares.get((one, other)) for other in names] for one in names], dtype=np.float64)
    ax = new_axes(ax)
    ax.imshow(table, vmin=0.5, vmax=1.0, aspect="auto")
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    ax.set_xlabel("method")
    ax.set_ylabel("other method")
    ax.spines[:].set_visible(False)
    for (row, column), share in np.ndenumerate(table):
        if not np.isnan(share):
            color = "black" if share > _LIGHT else "white"
            ax.text(column, row, f"{share:.1%}", ha="center", va="center", color=color)
    finish(ax, title)
    return ax
