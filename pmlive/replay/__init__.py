"""Replays: the records of recordings in order, at their own speed or another."""

from pmlive.replay.player import PlaybackTarget, Player, Speed
from pmlive.replay.timeline import RecordedCatalogue, Timeline, recorded_markets

__all__ = ["PlaybackTarget", "Player", "RecordedCatalogue", "Speed", "Timeline", "recorded_markets"]
