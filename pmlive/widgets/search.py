"""A box to find markets with."""

# ipywidgets says nothing of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false
# pyright: reportMissingTypeStubs=false

from collections.abc import Callable
from html import escape

import ipywidgets

from pmlive.manager import Manager, Replay
from pmlive.markets import Market
from pmlive.widgets.errands import Errands
from pmlive.widgets.parts import close_parts

__all__ = ["MarketSearch"]

_FOUND = 50


class MarketSearch(ipywidgets.VBox):
    """A box to find markets with; one that is picked is watched (in a replay, where all are, it is only shown).

    Args:
        manager: who looks, and watches.
        on_pick: is given the market that was picked.
    """

    def __init__(self, manager: Manager, on_pick: Callable[[Market], object] = lambda _: None) -> None:
        self.manager = manager
        self._on_pick = on_pick
        self._found: list[Market] = []
        self._text = ipywidgets.Text(placeholder="find: words, address, slug or id", continuous_update=False)
        self._find = ipywidgets.Button(description="find", layout={"width": "70px"})
        self._list = ipywidgets.Dropdown(options=[], layout={"width": "420px", "display": "none"})
        self._watch = ipywidgets.Button(description="watch", layout={"width": "70px", "display": "none"})
        self._said = ipywidgets.Label()
        self._errands = Errands(self._tell)
        self._find.on_click(lambda _: self.find(str(self._text.value)))
        self._text.observe(lambda change: self.find(str(change["new"])), names="value")
        self._watch.on_click(lambda _: self.pick(self._list.value))
        row = [self._text, self._find, self._list, self._watch, self._said]
        super().__init__([ipywidgets.HBox(row, layout={"flex_flow": "row wrap"})])

    @property
    def found(self) -> list[Market]:
        """The markets that were found last."""
        return list(self._found)

    def find(self, text: str) -> None:
        """Look for markets, and list them when they are found."""
        if text.strip():
            self._errands.do(lambda: self._list_found(text))

    def pick(self, number: int | None) -> None:
        """Watch one of the markets that were found."""
        if number is not None:
            market = self._found[number]
            self._errands.do(lambda: self._add(market))

    def _list_found(self, text: str) -> None:
        self._tell("looking …")
        self._found = self.manager.find(text)[:_FOUND]
        self._list.options = [(market.question or market.slug, at) for at, market in enumerate(self._found)]
        # A list that was empty picks nothing by itself.
        self._list.index = 0 if self._found else None
        for control in (self._list, self._watch):
            control.layout.display = None if self._found else "none"
        self._tell(f"{len(self._found)} found" if self._found else f"nothing is called {text[:60]!r}")

    def _add(self, market: Market) -> None:
        if not isinstance(self.manager, Replay):
            self.manager.watch(market)
        self._on_pick(market)

    def _tell(self, said: str) -> None:
        self._said.value = said

    def close(self) -> None:
        """Let go; again does nothing."""
        super().close()
        close_parts(self)

    def __repr__(self) -> str:
        """Say what was found."""
        return f"<MarketSearch, {len(self._found)} found>"

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{escape(market.question or market.slug)}</li>" for market in self._found)
        return f"<p>{escape(repr(self))}</p><ul>{items}</ul>"
