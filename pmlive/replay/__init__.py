"""Recordings played again: their records in order, in their own time or any other."""

from pmlive.replay.names import RecordedNames, recorded_markets
from pmlive.replay.player import Player, Speed, Stage
from pmlive.replay.timeline import Timeline

__all__ = ["Player", "RecordedNames", "Speed", "Stage", "Timeline", "recorded_markets"]
