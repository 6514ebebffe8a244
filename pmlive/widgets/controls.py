"""The controls: which token is shown, how a replay plays, and a search for markets.

A button only hands over what it asks for to a thread: the kernel, which waits for nothing, stays responsive.
"""

# ipywidgets says nothing of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false
# pyright: reportMissingTypeStubs=false

import contextvars
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from html import escape
from queue import SimpleQueue
from typing import Generic, TypeAlias, TypedDict, TypeVar

import ipywidgets

from pmlive.errors import PmliveError
from pmlive.logs import get_logger
from pmlive.manager import Manager, Replay
from pmlive.manager.snapshots import Query, Snapshot
from pmlive.markets import Market
from pmlive.threads import repeating
from pmlive.times import moment
from pmlive.widgets.base import close_children
from pmlive.widgets.render_loop import render_loop_of

__all__ = ["MarketSearch", "ReplayControls", "SerialExecutor", "TokenPicker", "TraitChange"]

logger = get_logger(__name__)

T = TypeVar("T")

Task: TypeAlias = Callable[[], object]

_SPEEDS = (1.0, 5.0, 20.0, 60.0, 300.0, 1000.0)
# What the list of tokens has while it has none.
_NOTHING = 'no market yet: find one, or live.watch("a slug")'
# The most markets that a search lists.
_MOST_FOUND = 50


class TraitChange(TypedDict, Generic[T]):
    """What traitlets reports of a value that changed."""

    new: T


class _Controls(ipywidgets.HBox):
    """A row of controls that the render loop keeps up to date."""

    # Seconds between two renderings.
    every = 0.25
    _problem = ""
    # Until it is made: a widget whose construction fails is closed, too, when Python collects it.
    _closed = True

    def __init__(self, manager: Manager, children: Sequence[object]) -> None:
        self.manager = manager
        self._rendered_at = 0.0
        super().__init__(children=children, layout={"flex_flow": "row wrap"})
        self._render_loop = render_loop_of(manager)
        self._render_loop.add(self)
        self._closed = False

    def due(self, now: float) -> bool:
        """Check whether to render now."""
        return now - self._rendered_at >= self.every

    def request(self, now: float) -> Query:
        """Return what the next rendering needs."""
        self._rendered_at = now
        return Query()

    def render(self, snapshot: Snapshot, now: float) -> None:
        """Show the present state."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """Stay as it is, and log the error once."""
        if repr(error) != self._problem:
            self._problem = repr(error)
            logger.error("controls could not be brought up to date", exc_info=error)

    def close(self) -> None:
        """Close it and its parts; closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._render_loop.remove(self)
        super().close()
        close_children(self)

    def __repr__(self) -> str:
        """Show the kind of controls."""
        return f"<{type(self).__name__}{', closed' if self._closed else ''}>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"


class _Slider(ipywidgets.FloatSlider):
    """A slider that is moved by the user and by the render loop, one at a time.

    Were a thread to set it while another takes a message of the page, both would be one change, and the first be lost.
    """

    def __init__(self, **options: object) -> None:
        self.lock = threading.RLock()
        super().__init__(**options)

    def set_state(self, sync_data: dict[str, object]) -> None:
        """Take a message of a page."""
        with self.lock:
            super().set_state(sync_data)


class TokenPicker(_Controls):
    """A list of what is watched, by question and outcome.

    Args:
        manager: whose tokens.
        on_pick: called with the id of the token that was picked.
    """

    def __init__(self, manager: Manager, on_pick: Callable[[str], object]) -> None:
        self._on_pick = on_pick
        self._labels: dict[str, str] = {}
        # The token to show as picked, and the last of these that was shown: each request is a list of its own.
        self._requested: list[str] = []
        self._fulfilled = self._requested
        self._picked: str | None = None
        self._listing = False
        # As wide as there is room, however long the longest name is.
        self._list = ipywidgets.Dropdown(layout={"width": "400px", "max_width": "100%"})
        self._fill_list({})
        self._list.observe(self._changed, names="value")
        super().__init__(manager, [self._list])
        self.layout.max_width = "100%"

    @property
    def token_id(self) -> str | None:
        """The token that is picked."""
        value = self._list.value
        return value if isinstance(value, str) and value else None

    def pick(self, token_id: str) -> None:
        """Show a token as picked, as soon as it is on the list, without a call of ``on_pick``."""
        self._requested = [token_id]

    def render(self, snapshot: Snapshot, now: float) -> None:
        """List what is watched now."""
        del now
        requested = self._requested
        if requested is not self._fulfilled and requested[0] in snapshot.labels:
            self._fulfilled, self._picked = requested, requested[0]
        if snapshot.labels != self._labels:
            self._fill_list(snapshot.labels)
        elif self._picked in self._labels and self.token_id != self._picked:
            self._list.value = self._picked

    def _fill_list(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)
        # A new list picks something by itself, until it is set to what was picked.
        self._listing = True
        self._list.options = [(label, token_id) for token_id, label in labels.items()] or [(_NOTHING, "")]
        self._list.value = self._picked if self._picked in labels else next(iter(labels), "")
        self._list.disabled = not labels
        self._listing = False
        self._pick(self.token_id)

    def _changed(self, change: TraitChange[object]) -> None:
        if not self._listing:
            self._pick(change["new"])

    def _pick(self, token_id: object) -> None:
        if isinstance(token_id, str) and token_id not in ("", self._picked):
            self._picked = token_id
            self._on_pick(token_id)


class ReplayControls(_Controls):
    """Play, pause, step, speed, and a slider to go to any time of a recording.

    Args:
        replay: what is played.
    """

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._first = replay.first_time
        seconds = (replay.last_time - replay.first_time).total_seconds()
        self._play = ipywidgets.Button(icon="play", tooltip="play or pause", layout={"width": "44px"})
        self._step = ipywidgets.Button(icon="step-forward", tooltip="the next frame", layout={"width": "44px"})
        speeds: list[tuple[str, object]] = [*((f"{speed:g}x", speed) for speed in _SPEEDS), ("max", "max")]
        self._speed = ipywidgets.Dropdown(options=_including(speeds, replay.speed), layout={"width": "90px"})
        self._slider = _Slider(
            min=0.0,
            max=max(seconds, 0.001),
            step=0.1,
            readout=False,
            continuous_update=False,
            layout={"width": "460px"},
        )
        # The knob of the slider at its end reaches beyond it.
        self._time, self._problem = ipywidgets.Label(layout={"margin": "2px 2px 2px 14px"}), ipywidgets.Label()
        self._slider_at_s = 0.0
        self._executor = SerialExecutor(self._report)
        self._move(self._slider_s(replay.position))
        self._show(replay.position, paused=replay.paused, finished=replay.finished, speed=replay.speed)
        self._play.on_click(lambda _: self._executor.submit(self._toggle))
        self._step.on_click(lambda _: self._executor.submit(replay.step))
        self._speed.observe(self._speed_set, names="value")
        self._slider.observe(self._slid, names="value")
        children = [self._play, self._step, self._speed, self._slider, self._time, self._problem]
        super().__init__(replay, children)

    def render(self, snapshot: Snapshot, now: float) -> None:
        """Show how far the replay has come."""
        replay = self._replay
        at = moment(snapshot.now)
        # What was read before the replay went to where the slider was put is no place to move the slider to.
        if now > self._executor.idle_since:
            self._move(self._slider_s(at))
        self._show(at, paused=replay.paused, finished=replay.finished, speed=replay.speed)

    def _show(self, at: datetime, *, paused: bool, finished: bool, speed: object) -> None:
        self._time.value = f"{at:%Y-%m-%d %H:%M:%S} UTC{', finished' if finished else ''}"
        self._play.icon = "play" if paused or finished else "pause"
        if self._speed.value != speed:
            self._speed.options = _including(list(self._speed.options), speed)
            self._speed.value = speed

    def _slider_s(self, at: datetime) -> float:
        return round(min(max((at - self._first).total_seconds(), 0.0), float(self._slider.max)), 3)

    def _move(self, to_s: float) -> None:
        # What is set here comes back as a change, which must not be taken for one of the user's.
        with self._slider.lock:
            self._slider_at_s = to_s
            self._slider.value = to_s

    def _toggle(self) -> None:
        if self._replay.finished:
            self._replay.seek(self._replay.first_time)
            self._replay.resume()
        elif self._replay.paused:
            self._replay.resume()
        else:
            self._replay.pause()

    def _speed_set(self, change: TraitChange[object]) -> None:
        speed = change["new"]
        if speed != self._replay.speed and (speed == "max" or isinstance(speed, float)):
            self._executor.submit(lambda: setattr(self._replay, "speed", speed))

    def _slid(self, change: TraitChange[object]) -> None:
        to_s = change["new"]
        if isinstance(to_s, float) and to_s != self._slider_at_s:
            self._executor.submit(lambda: self._replay.seek(self._first + timedelta(seconds=to_s)))

    def _report(self, problem: str) -> None:
        self._problem.value = problem


class MarketSearch(ipywidgets.VBox):
    """A box to find markets with; one that is picked is watched (in a replay, where all are, it is only shown).

    Args:
        manager: who looks, and watches.
        on_pick: called with the market that was picked.
    """

    def __init__(self, manager: Manager, on_pick: Callable[[Market], object] = lambda _: None) -> None:
        self.manager = manager
        self._on_pick = on_pick
        self._found: list[Market] = []
        text_layout = {"width": "300px", "flex": "0 1 auto", "min_width": "0"}
        self._text = ipywidgets.Text(
            placeholder="find: words, address, slug or id", continuous_update=False, layout=text_layout
        )
        self._find = ipywidgets.Button(description="find", layout={"width": "70px", "flex": "none"})
        self._list = ipywidgets.Dropdown(options=[], layout={"width": "420px", "max_width": "100%", "display": "none"})
        self._watch = ipywidgets.Button(description="watch", layout={"width": "70px", "display": "none"})
        # Without a word it takes no room.
        self._message = ipywidgets.Label(layout={"display": "none"})
        self._executor = SerialExecutor(self._report)
        self._find.on_click(lambda _: self.find(str(self._text.value)))
        self._text.observe(lambda change: self.find(str(change["new"])), names="value")
        self._watch.on_click(lambda _: self.pick(self._list.value))
        # The button stays beside the box.
        asked = ipywidgets.HBox([self._text, self._find], layout={"max_width": "100%"})
        row = [asked, self._list, self._watch, self._message]
        super().__init__([ipywidgets.HBox(row, layout={"flex_flow": "row wrap"})], layout={"max_width": "100%"})

    @property
    def found(self) -> list[Market]:
        """The markets that were found last."""
        return list(self._found)

    def find(self, text: str) -> None:
        """Search for markets, and list them when they are found."""
        if text.strip():
            self._executor.submit(lambda: self._list_found(text))

    def pick(self, number: int | None) -> None:
        """Watch one of the markets that were found."""
        if number is not None:
            market = self._found[number]
            self._executor.submit(lambda: self._add(market))

    def _list_found(self, text: str) -> None:
        self._report("looking …")
        self._found = self.manager.find(text)[:_MOST_FOUND]
        self._list.options = [(market.question or market.slug, at) for at, market in enumerate(self._found)]
        # A list that was empty picks nothing by itself.
        self._list.index = 0 if self._found else None
        for control in (self._list, self._watch):
            control.layout.display = None if self._found else "none"
        self._report(f"{len(self._found)} found" if self._found else f"nothing is called {text[:60]!r}")

    def _add(self, market: Market) -> None:
        if not isinstance(self.manager, Replay):
            self.manager.watch(market)
        self._on_pick(market)

    def _report(self, text: str) -> None:
        self._message.value = text
        self._message.layout.display = None if text else "none"

    def close(self) -> None:
        """Close it and its parts; closing again does nothing."""
        super().close()
        close_children(self)

    def __repr__(self) -> str:
        """Show how many markets were found."""
        return f"<MarketSearch, {len(self._found)} found>"

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{escape(market.question or market.slug)}</li>" for market in self._found)
        return f"<p>{escape(repr(self))}</p><ul>{items}</ul>"


class SerialExecutor:
    """Runs one task after another in a thread that is there while there are any.

    Args:
        report: called with what went wrong, and with "" before the next task.
    """

    def __init__(self, report: Callable[[str], object]) -> None:
        self._report = report
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._lock = threading.Lock()
        self._busy = False
        self._done_at = -math.inf

    @property
    def idle_since(self) -> float:
        """When the last task was done (seconds of the monotonic clock); never while there are any."""
        return math.inf if self._busy else self._done_at

    def submit(self, task: Task) -> None:
        """Run a task, soon."""
        with self._lock:
            self._tasks.put(task)
            if self._busy:
                return
            self._busy = True
        run = contextvars.copy_context().run
        repeating("pmlive controls", partial(run, self._turn), pause=0.0).start()

    def _turn(self) -> bool:
        task = self._next()
        if task is None:
            return False
        self._report("")
        try:
            task()
        except (PmliveError, ValueError) as error:
            self._report(str(error))
        except BaseException as error:
            self._report(f"{type(error).__name__}: {error}")
            raise
        return True

    def _next(self) -> Task | None:
        with self._lock:
            if self._tasks.empty():
                self._done_at, self._busy = time.monotonic(), False
                return None
            return self._tasks.get()


def _including(options: list[tuple[str, object]], speed: object) -> list[tuple[str, object]]:
    """Add a speed to the choices, unless it is among them."""
    if any(value == speed for _, value in options):
        return options
    return [(f"{speed}x", speed), *options]
