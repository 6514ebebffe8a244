"""A toolkit on the simulated venue, called as a server would call it."""

import json
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from anyio.from_thread import BlockingPortal, start_blocking_portal
from support.live import address
from support.waiting import wait_until

import pmlive as pm
from pmlive.mcp.specs import Caller, ToolResult
from pmlive.mcp.toolkit import Toolkit
from pmlive.sim import SimulatedVenue

__all__ = ["Bench", "benched"]


class Bench:
    """A toolkit with its manager and venue."""

    def __init__(self, live: pm.Manager, kit: Toolkit, sim: SimulatedVenue, portal: BlockingPortal) -> None:
        self.live = live
        self.kit = kit
        self.sim = sim
        self.markets = sim.markets
        self._portal = portal

    def answer(
        self, name: str, arguments: Mapping[str, object] | None = None, client: Caller | None = None
    ) -> ToolResult:
        """Call a tool."""
        return self._portal.call(partial(self.kit.call, name, arguments or {}, client=client))

    def read(self, uri: str) -> dict[str, object]:
        """Read a resource."""
        return json.loads(self._portal.call(self.kit.read, uri))

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
def benched(
    recordings: Path | None = None, *, sim: SimulatedVenue | None = None, events: int = 1000, **options: object
) -> Generator[Bench]:
    """Make a toolkit, of a simulated venue of its own unless one is given; ``options`` are the manager's."""
    with ExitStack() as stack:
        venue = stack.enter_context(SimulatedVenue() if sim is None else sim)
        live = stack.enter_context(pm.Manager(address(venue), **options))  # pyright: ignore[reportArgumentType]
        kit = stack.enter_context(closing(Toolkit(live, recordings, events=events)))
        yield Bench(live, kit, venue, stack.enter_context(start_blocking_portal()))
