"""Faults without a word: the connection stands, and what should come does not."""

import time

import msgspec
import polars as pl

from pmlive.cli.faults.row import Expected, Row
from pmlive.cli.faults.scene import Scene
from pmlive.recording import open_recording

__all__ = ["SILENCES"]

# Silence is found when the patience with it is over; until then a book may be given that is so old.
_SILENT = Expected(causes=frozenset({"silence"}), patience=10.0, before=4.0)
_ONE_SILENT = Expected(
    causes=frozenset({"silence", "mismatch"}), gaps="some", refused="some", patience=12.0, before=4.0
)
_SILENCE_LASTS = 12.0
_QUIET = 9.0


def _frozen(scene: Scene) -> None:
    fault = scene.sim.fault("stall", channel="market")
    scene.until_refused()
    fault.clear()


def _frozen_without_witness(scene: Scene) -> None:
    """Answer PINGs, send no data, and let REST be down, too."""
    scene.sim.fault("refuse", channel="clob", number=503)
    scene.sim.fault("stall", channel="market")
    scene.until_refused()
    scene.sim.clear_faults()


def _frozen_to_the_end(scene: Scene) -> None:
    """Let the recording end while nothing comes and nobody can tell."""
    scene.sim.fault("refuse", channel="clob", number=503)
    scene.sim.fault("stall", channel="market")
    scene.calm(_SILENCE_LASTS)


def _one_frozen(scene: Scene) -> None:
    token = scene.tokens[0]
    fault = scene.sim.fault("silent", token_id=token)
    scene.until_refused([token])
    fault.clear()


def _market_forgotten(scene: Scene) -> None:
    # The venue sends the changes of both outcomes to whoever asked for one.
    tokens = scene.sim.markets[0].token_ids
    for token in tokens:
        scene.sim.fault("forget", token_id=token)
    # The books are asked for anew, and come so soon that nobody may see them refuse.
    scene.calm(_SILENCE_LASTS)


def _all_forgotten(scene: Scene) -> None:
    scene.sim.fault("forget")
    scene.until_refused()


def _no_first_book(scene: Scene) -> None:
    """Come back without the book of one token, whose changes come all the same; REST has it."""
    scene.sim.fault("no_opening", token_id=scene.tokens[0], times=2)
    scene.hold_off()
    scene.sim.fault("drop", channel="market")
    scene.until_refused()


def _no_book_at_all(scene: Scene) -> None:
    """Come back with changes alone, while REST is down."""
    scene.sim.fault("refuse", channel="clob", number=503)
    scene.sim.fault("no_opening", times=200)
    scene.hold_off()
    scene.sim.fault("drop", channel="market")
    scene.until_refused()
    # A book that follows a trade ends it for its token.
    scene.calm(3.0)
    scene.sim.clear_faults()


def _quiet_then_cut(scene: Scene) -> None:
    """Cut a connection that was quiet for a while, on which PINGs were answered."""
    scene.calm(_QUIET)
    scene.began = time.time_ns()
    scene.hold_off()
    scene.sim.fault("drop", channel="market")
    scene.until_refused()


def _resolved_while_away(scene: Scene) -> None:
    """Resolve a market while there is no connection that could tell it."""
    refusal = scene.sim.fault("refuse", channel="market", number=503, detail="1")
    scene.sim.fault("drop", channel="market")
    scene.until_refused()
    market = scene.sim.markets[0]
    scene.sim.resolve(market)
    scene.gone |= set(market.token_ids)
    refusal.clear()
    scene.until(lambda: _is_told(scene, market.condition_id), "that the outcome is told", 20.0)


def _is_told(scene: Scene, market: str) -> bool:
    told = open_recording(scene.tape).scan("market_events").filter(pl.col("market") == market)
    return "market_resolved" in told.select("kind").collect()["kind"]


SILENCES: tuple[Row, ...] = (
    Row(name="frozen, PING answered", group="silence", act=_frozen, expected=_SILENT),
    Row(name="frozen, REST answers 503", group="silence", act=_frozen_without_witness, expected=_SILENT),
    Row(
        name="frozen to the end, REST answers 503",
        group="silence",
        act=_frozen_to_the_end,
        expected=Expected(causes=frozenset({"silence"}), patience=10.0, before=4.0, recovers=False),
    ),
    Row(name="one token frozen", group="silence", act=_one_frozen, expected=_ONE_SILENT),
    Row(
        name="one market forgotten",
        group="silence",
        act=_market_forgotten,
        expected=msgspec.structs.replace(_ONE_SILENT, refused="any"),
    ),
    Row(name="every token forgotten", group="silence", act=_all_forgotten, expected=_SILENT),
    Row(
        name="no first book of one token",
        group="silence",
        act=_no_first_book,
        expected=Expected(causes=frozenset({"disconnect", "late opening book"})),
    ),
    Row(
        name="changes without books, REST answers 503",
        group="silence",
        act=_no_book_at_all,
        expected=Expected(causes=frozenset({"disconnect", "late opening book", "silence"})),
    ),
    Row(
        name="cut after a quiet time",
        group="silence",
        act=_quiet_then_cut,
        rate=0.0,
        expected=Expected(causes=frozenset({"disconnect"}), before=1.5),
    ),
    Row(
        name="resolved while away",
        group="silence",
        act=_resolved_while_away,
        expected=Expected(causes=frozenset({"disconnect", "silence", "late opening book"})),
    ),
)
