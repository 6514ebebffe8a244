"""Stream, prove, record and replay Polymarket's real-time feeds."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from pmlive.errors import (
    AuthError,
    BookError,
    FeedError,
    PmliveError,
    ProtocolError,
    StoreError,
    UnknownMarketError,
)

if TYPE_CHECKING:
    from pmlive import history as history
    from pmlive.credentials import Credentials
    from pmlive.feed import Policy
    from pmlive.manager import BookView, Manager, Subscription, close_all, find, managers
    from pmlive.markets import Market
    from pmlive.recording import RecordedBook, Recording, open_recording, recordings, sample
    from pmlive.settings import Venue

__all__ = [
    "AuthError",
    "BookError",
    "BookView",
    "Credentials",
    "FeedError",
    "Manager",
    "Market",
    "PmliveError",
    "Policy",
    "ProtocolError",
    "RecordedBook",
    "Recording",
    "StoreError",
    "Subscription",
    "UnknownMarketError",
    "Venue",
    "close_all",
    "find",
    "managers",
    "open_recording",
    "recordings",
    "sample",
]

__version__ = version("pmlive")

# Loaded when first used, so that importing pmlive costs nothing that is not needed.
_LAZY = {
    "BookView": "pmlive.manager",
    "Credentials": "pmlive.credentials",
    "Manager": "pmlive.manager",
    "Market": "pmlive.markets",
    "Policy": "pmlive.feed",
    "RecordedBook": "pmlive.recording",
    "Recording": "pmlive.recording",
    "Subscription": "pmlive.manager",
    "Venue": "pmlive.settings",
    "close_all": "pmlive.manager",
    "find": "pmlive.manager",
    "managers": "pmlive.manager",
    "open_recording": "pmlive.recording",
    "recordings": "pmlive.recording",
    "sample": "pmlive.recording",
}


# Modules that are loaded when first used.
_MODULES = frozenset({"history"})


def __getattr__(name: str) -> object:
    """Load a public name from its module, or a public module."""
    if name in _MODULES:
        return import_module(f"pmlive.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'pmlive' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def load_ipython_extension(shell: object) -> None:
    """Add the magic ``%pmlive`` to a notebook: ``%load_ext pmlive``."""
    import_module("pmlive.widgets.magic").load(shell)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
