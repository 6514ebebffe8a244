"""The venue's sockets: connections, the pool that spreads subscriptions over them, and the clock of receive times.

Connections fail independently of each other. What they receive goes to a ``Sink``, as bytes with the events in them
and the receive time; each call of it returns at once, so that nothing behind it slows a socket.
"""

from pmlive.feed.connection import Clock, ClockStep, FeedConnection, Sink, elapsed
from pmlive.feed.dialling import Backoff
from pmlive.feed.pool import Pool
from pmlive.retries import DialPolicy as Policy

__all__ = ["Backoff", "Clock", "ClockStep", "FeedConnection", "Policy", "Pool", "Sink", "elapsed"]
