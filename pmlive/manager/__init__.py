"""One object that streams, keeps, records and shows: the manager."""

from pmlive.manager.core import Manager
from pmlive.manager.lifecycle import close_all, find, managers
from pmlive.manager.replay import Replay
from pmlive.manager.snapshots import BookView
from pmlive.manager.subscriptions import CallbackType, Subscription, SubscriptionType

__all__ = [
    "BookView",
    "CallbackType",
    "Manager",
    "Replay",
    "Subscription",
    "SubscriptionType",
    "close_all",
    "find",
    "managers",
]
