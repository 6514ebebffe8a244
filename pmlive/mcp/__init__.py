"""Live and recorded markets for Claude and other clients of the Model Context Protocol.

``mount`` and ``tools`` add them to a server of your own, ``serve`` serves them on this computer; ``pmlive mcp`` and
``Manager.serve_mcp`` are what most people want.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pmlive.mcp.http import serve
    from pmlive.mcp.mounting import Tools, mount, tools
    from pmlive.mcp.toolkit import Toolkit

__all__ = ["Toolkit", "Tools", "mount", "serve", "tools"]

# Loaded when first used: the SDK takes more than a second.
_LAZY = {"Toolkit": "toolkit", "Tools": "mounting", "mount": "mounting", "serve": "http", "tools": "mounting"}


def __getattr__(name: str) -> object:
    """Load a public name from its module.

    Raises:
        ImportError: the extra ``pmlive[mcp]`` is not installed.
    """
    if name not in _LAZY:
        raise AttributeError(f"module 'pmlive.mcp' has no attribute {name!r}")
    try:
        return getattr(import_module(f"pmlive.mcp.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name} needs {error.name}, which is not installed; run: pip install 'pmlive[mcp]'"
        ) from error


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
