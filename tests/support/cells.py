"""Cells that the notebooks of the browser's tests have in common, and how to wait for what they show."""

from support.notebook import Notebook

__all__ = ["BEGIN", "SHOW", "assert_the_same", "until_coloured"]

# A manager that dials again without patience, and two of the three markets.
BEGIN = """
import time
import pmlive as pm
from pmlive.feed import Policy
quick = Policy(first=0.01, most=0.05, stable=0.2, window=1.0, dials=50, spacing=0.001, refused=0.3, tick=0.01)
live = pm.Manager(venue="sim", policy=quick)
for market in live.sim.markets[:2]:
    live.watch(market.slug)
"""
SHOW = """
dash = live.dashboard()
dash
"""


def until_coloured(notebook: Notebook, name: str = "PriceChart", *, least: int = 100) -> None:
    """Wait until a chart has the colours of bids, asks and, of prices, their middle."""
    drawn = notebook.widget(name)
    for colour in ("bid", "ask", "mid") if name == "PriceChart" else ("bid", "ask"):
        notebook.until(lambda of=colour: drawn.pixels(of) > least, f"that {name} has the {colour} drawn")


def assert_the_same(notebook: Notebook) -> None:
    """See that the price chart has what the manager has, up to where the chart has come."""
    # By one look at the frame, which grows meanwhile.
    its = "live.prices.filter(token_id=dash.price.token_id)"
    there = notebook.told(f"import json; print(json.dumps({its}['best_bid'].to_list()))", list[float])
    chart = notebook.widget("PriceChart")
    notebook.until(lambda: len(chart.arrays["bids"]) >= len(there), "that the chart has what the manager has")
    assert chart.arrays["bids"][: len(there)] == there
