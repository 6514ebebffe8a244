"""The controls: which token is shown, and how a replay plays."""

# ipywidgets says nothing of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false
# pyright: reportMissingTypeStubs=false

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import TypedDict, cast

import ipywidgets

from pmlive.logs import get_logger
from pmlive.manager import Manager, Replay
from pmlive.manager.glance import Asked, Glance
from pmlive.times import moment
from pmlive.widgets.errands import Errands
from pmlive.widgets.painter import painter_of
from pmlive.widgets.parts import close_parts

__all__ = ["Change", "ReplayControls", "TokenPicker"]

logger = get_logger(__name__)

_SPEEDS = (1.0, 5.0, 20.0, 60.0, 300.0, 1000.0)


class Change(TypedDict):
    """What traitlets tells of a value that changed."""

    new: object


class _Controls(ipywidgets.HBox):
    """A row of controls that is kept up to date by the painter."""

    # Seconds from one look to the next.
    every = 0.25
    _problem = ""
    # Until it is made: what fails to be made is closed, too, when Python lets go of it.
    _closed = True

    def __init__(self, manager: Manager, children: Sequence[object]) -> None:
        self.manager = manager
        self._drawn = 0.0
        super().__init__(children=children, layout={"flex_flow": "row wrap"})
        self._painter = painter_of(manager)
        self._painter.add(self)
        self._closed = False

    def due(self, now: float) -> bool:
        """Tell whether to look again."""
        return now - self._drawn >= self.every

    def asks(self, now: float) -> Asked:
        """Say what is needed."""
        self._drawn = now
        return Asked()

    def paint(self, glance: Glance, now: float) -> None:
        """Show how it is."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """Stay as it is, and say so once."""
        if repr(error) != self._problem:
            self._problem = repr(error)
            logger.error("controls could not be brought up to date", exc_info=error)

    def close(self) -> None:
        """Let go; again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._painter.remove(self)
        super().close()
        close_parts(self)

    def __repr__(self) -> str:
        """Say what it is."""
        return f"<{type(self).__name__}{', closed' if self._closed else ''}>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"


class _Slider(ipywidgets.FloatSlider):
    """A slider that is moved by the user and by the painter, one at a time.

    What a thread sets while another takes what a page says would be told as one change, and the first be lost.
    """

    def __init__(self, **options: object) -> None:
        self.lock = threading.RLock()
        super().__init__(**options)

    def set_state(self, sync_data: dict[str, object]) -> None:
        """Take what a page says."""
        with self.lock:
            super().set_state(sync_data)


class TokenPicker(_Controls):
    """A list of what is watched, by question and outcome.

    Args:
        manager: whose tokens.
        on_pick: is given the id of the token that was picked.
    """

    def __init__(self, manager: Manager, on_pick: Callable[[str], object]) -> None:
        self._on_pick = on_pick
        self._labels: dict[str, str] = {}
        # What is to be shown as picked, and the last such wish that was fulfilled: each wish is a list of its own.
        self._wish: list[str] = []
        self._fulfilled = self._wish
        self._picked: str | None = None
        self._listing = False
        self._list = ipywidgets.Dropdown(options=[], layout={"width": "400px"})
        self._list.observe(self._changed, names="value")
        super().__init__(manager, [self._list])

    @property
    def token_id(self) -> str | None:
        """The token that is picked."""
        return cast("str | None", self._list.value)

    def pick(self, token_id: str) -> None:
        """Show that a token is picked, as soon as it is on the list; whoever says so is not told."""
        self._wish = [token_id]

    def paint(self, glance: Glance, now: float) -> None:
        """List what is watched now."""
        del now
        wish = self._wish
        if wish is not self._fulfilled and wish[0] in glance.labels:
            self._fulfilled, self._picked = wish, wish[0]
        if glance.labels != self._labels:
            self._list_anew(glance.labels)
        elif self._picked in self._labels and self.token_id != self._picked:
            self._list.value = self._picked

    def _list_anew(self, labels: Mapping[str, str]) -> None:
        self._labels = dict(labels)
        # A new list picks what it likes, until it is told what was picked.
        self._listing = True
        self._list.options = [(label, token_id) for token_id, label in labels.items()]
        self._list.value = self._picked if self._picked in labels else next(iter(labels), None)
        self._listing = False
        self._pick(self.token_id)

    def _changed(self, change: Change) -> None:
        if not self._listing:
            self._pick(change["new"])

    def _pick(self, token_id: object) -> None:
        if isinstance(token_id, str) and token_id != self._picked:
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
        self._speed = ipywidgets.Dropdown(options=_with(speeds, replay.speed), layout={"width": "90px"})
        self._slider = _Slider(
            min=0.0,
            max=max(seconds, 0.001),
            step=0.1,
            readout=False,
            continuous_update=False,
            layout={"width": "460px"},
        )
        self._time, self._problem = ipywidgets.Label(), ipywidgets.Label()
        self._shown = 0.0
        self._errands = Errands(self._tell)
        self._move(self._seconds(replay.position))
        self._show(replay.position, paused=replay.paused, finished=replay.finished, speed=replay.speed)
        self._play.on_click(lambda _: self._errands.do(self._toggle))
        self._step.on_click(lambda _: self._errands.do(replay.step))
        self._speed.observe(self._speed_set, names="value")
        self._slider.observe(self._slid, names="value")
        children = [self._play, self._step, self._speed, self._slider, self._time, self._problem]
        super().__init__(replay, children)

    def paint(self, glance: Glance, now: float) -> None:
        """Show how far it has come."""
        replay = self._replay
        at = moment(glance.now)
        # What was seen before it went where the slider was put is no place to move the slider to.
        if now > self._errands.idle_since:
            self._move(self._seconds(at))
        self._show(at, paused=replay.paused, finished=replay.finished, speed=replay.speed)

    def _show(self, at: datetime, *, paused: bool, finished: bool, speed: object) -> None:
        self._time.value = f"{at:%Y-%m-%d %H:%M:%S} UTC{', finished' if finished else ''}"
        self._play.icon = "play" if paused or finished else "pause"
        if self._speed.value != speed:
            self._speed.options = _with(list(self._speed.options), speed)
            self._speed.value = speed

    def _seconds(self, at: datetime) -> float:
        return round(min(max((at - self._first).total_seconds(), 0.0), float(self._slider.max)), 3)

    def _move(self, to: float) -> None:
        # What is set here comes back as a change, which must not be taken for a wish of the user's.
        with self._slider.lock:
            self._shown = to
            self._slider.value = to

    def _toggle(self) -> None:
        if self._replay.finished:
            self._replay.seek(self._replay.first_time)
            self._replay.resume()
        elif self._replay.paused:
            self._replay.resume()
        else:
            self._replay.pause()

    def _speed_set(self, change: Change) -> None:
        speed = change["new"]
        if speed != self._replay.speed and (speed == "max" or isinstance(speed, float)):
            self._errands.do(lambda: setattr(self._replay, "speed", speed))

    def _slid(self, change: Change) -> None:
        to = change["new"]
        if isinstance(to, float) and to != self._shown:
            self._errands.do(lambda: self._replay.seek(self._first + timedelta(seconds=to)))

    def _tell(self, problem: str) -> None:
        self._problem.value = problem


def _with(options: list[tuple[str, object]], speed: object) -> list[tuple[str, object]]:
    """Have a speed among the choices."""
    if any(value == speed for _, value in options):
        return options
    return [(f"{speed}x", speed), *options]
