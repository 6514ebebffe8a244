"""The venue's sockets: the only module that dials, with the time to do it in.

Every connection runs by itself: the market, user and real-time sockets fail independently of each other. What is
received leaves through one narrow seam, ``Sink``, as bytes with their events and the time; nothing behind it can slow
a socket.
"""

from pmlive.feed.clock import Clock, ClockStep, elapsed
from pmlive.feed.connection import Connection, Sink
from pmlive.feed.dialling import Backoff
from pmlive.feed.pool import Pool
from pmlive.retries import DialPolicy as Policy

__all__ = ["Backoff", "Clock", "ClockStep", "Connection", "Policy", "Pool", "Sink", "elapsed"]
