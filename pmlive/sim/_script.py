"""A list of messages made beforehand, to be sent as fast as a socket takes them."""

from collections.abc import Sequence
from random import Random

import msgspec

from pmlive.sim._catalogue import Market, markets
from pmlive.sim._frames import Message
from pmlive.sim._model import Model

__all__ = ["Script", "write_script"]


class Script(msgspec.Struct, frozen=True):
    """What happens, and the books by token id: ``opening`` as the socket sends them, ``rest`` and ``final`` as REST."""

    markets: list[Market]
    opening: dict[str, str]
    rest: dict[str, str]
    messages: list[Message]
    final: dict[str, str]


def write_script(
    number: int, *, seed: int, messages: int, depth: int = 20, start: int = 1_790_000_000_000, per_second: int = 30_000
) -> Script:
    """Write at least so many messages of so many markets.

    ``start`` is in milliseconds since 1970 and ``per_second`` is by the venue's clock.
    The same arguments write the same script.

    >>> script = write_script(2, seed=7, messages=100)
    >>> script == write_script(2, seed=7, messages=100), len(script.opening), len(script.messages) >= 100
    (True, 4, True)
    """
    made = markets(number, seed=seed)
    models = [Model(market, depth=depth, now=start) for market in made]
    opening, rest = _books(models, "opening"), _books(models, "rest")
    rng, story = Random(f"{seed}/script"), list[Message]()
    while len(story) < messages:
        story += rng.choice(models).step(start + 1 + len(story) * 1000 // per_second)
    return Script(made, opening, rest, story, _books(models, "rest"))


def _books(models: Sequence[Model], form: str) -> dict[str, str]:
    return {
        token: model.state.opening_book(outcome) if form == "opening" else model.state.rest_book(outcome)
        for model in models
        for outcome, token in enumerate(model.market.token_ids)
    }
