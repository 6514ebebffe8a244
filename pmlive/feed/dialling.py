"""One dial: the options that every socket of ours is opened with."""

import logging
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect

from pmlive.logs import get_logger
from pmlive.proxies import Proxy, tls

__all__ = ["Dial", "Socket", "dial"]

# The library logs whole frames at DEBUG, the one with credentials among them.
_quiet = get_logger(f"{__name__}.socket")
_quiet.setLevel(logging.INFO)

_MAX_FRAME = 16 * 1024 * 1024


class Socket(ClientConnection):
    """A socket that counts what comes piece by piece, so that a long frame on a slow line is a sign of life."""

    pieces = 0

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self.pieces += 1
        super().data_received(data)


class Dial(connect):
    """A dial that follows no redirect: it would carry credentials to another origin."""

    async def __aenter__(self) -> Socket:
        """Open the socket."""
        return cast("Socket", await super().__aenter__())

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Give the redirect back as the error that it is to us."""
        return exc


def dial(url: str, proxy: Proxy | None, *, open_timeout: float) -> Dial:
    """Prepare to open a socket, through a proxy if there is one.

    Raises:
        FeedError: the certificates that a variable names cannot be read.
    """
    options: dict[str, Any] = {"ssl": tls()} if url.startswith("wss:") else {}
    if proxy is not None and proxy.address.reveal().startswith("https:"):
        options["proxy_ssl"] = tls()
    return Dial(
        url,
        create_connection=Socket,
        max_size=_MAX_FRAME,
        ping_interval=None,
        compression=None,
        open_timeout=open_timeout,
        close_timeout=1,
        logger=_quiet,
        proxy=None if proxy is None else proxy.address.reveal(),
        **options,
    )
