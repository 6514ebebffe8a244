"""Loggers for what must go on, whatever becomes of the log."""

import logging
from collections.abc import Mapping

__all__ = ["Log"]


class Log(logging.LoggerAdapter[logging.Logger]):
    """Write to a logger whose handlers may fail: whoever writes goes on, and ``trouble`` says what failed.

    The library's own handlers report such an error themselves, but one of the user's may raise, and a closed terminal
    or a full disk must not end a recording.
    """

    def __init__(self, name: str) -> None:
        """Write under a name."""
        super().__init__(logging.getLogger(name), {})
        self.trouble: str | None = None

    def log(
        self,
        level: int,
        msg: object,
        *args: object,
        exc_info: "bool | BaseException | tuple[object, ...] | None" = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **_: object,
    ) -> None:
        """Write a line, if the log can be written."""
        try:
            self.logger.log(
                level,
                msg,
                *args,
                exc_info=exc_info,  # pyright: ignore[reportArgumentType]  # handed on
                stack_info=stack_info,
                stacklevel=stacklevel + 1,
                extra=extra,
            )
        except Exception as error:  # noqa: BLE001  # the handlers are anybody's
            self.trouble = f"the log could not be written: {error!r}"
        else:
            self.trouble = None
