"""A toolkit on the simulated venue, called as a server would call it."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import anyio
from support.waiting import wait_until

import pmlive as pm
from pmlive.mcp.described import Answer
from pmlive.mcp.toolkit import Toolkit
from pmlive.sim import SimulatedVenue

__all__ = ["Bench", "benched"]


class Bench:
    """A toolkit with its manager and venue."""

    def __init__(self, live: pm.Manager, kit: Toolkit, sim: SimulatedVenue | None = None) -> None:
        self.live = live
        self.kit = kit
        self.sim = sim or cast("SimulatedVenue", live.sim)
        self.markets = self.sim.markets

    def answer(self, name: str, arguments: Mapping[str, object] | None = None) -> Answer:
        """Call a tool."""

        async def call() -> Answer:
            return await self.kit.call(name, arguments or {})

        return anyio.run(call)

    def call(self, name: str, **arguments: object) -> dict[str, object]:
        """Call a tool that is expected to answer."""
        answer = self.answer(name, arguments)
        assert not answer.failed, answer.text
        assert answer.structured is not None
        return answer.structured

    def refusal(self, name: str, **arguments: object) -> str:
        """Call a tool that is expected to refuse."""
        answer = self.answer(name, arguments)
        assert answer.failed, answer.text
        assert answer.structured is None
        return answer.text

    def until_events(self, subscription_id: object) -> int:
        """Wait until a subscription got something, and say how many."""

        def received() -> int:
            one = next(one for one in self.live.subscriptions if one.id == subscription_id)
            return one.events_received

        wait_until(received, what="an event")
        return received()


@contextmanager
def benched(recordings: Path | None = None, **options: object) -> Generator[Bench]:
    with pm.Manager("sim", **options) as live:  # pyright: ignore[reportArgumentType]
        kit = Toolkit(live, recordings)
        try:
            yield Bench(live, kit)
        finally:
            kit.close()
