"""The texts of a recording as they are exported: a venue or a stranger wrote them, and other programs show them.

Characters that control a terminal or end a line become a space, and those that hide or turn round what is beside them
go, in all formats. In CSV a text that a spreadsheet would take for a formula is preceded by an apostrophe, as its own
users do it; numbers and times are columns of their own kind and stay as they are.
"""

import polars as pl

__all__ = ["quoted", "visible"]

_CONTROLS = r"[\p{Cc}\p{Zl}\p{Zp}]"
_HIDDEN = r"\p{Cf}"
# Spreadsheets take the wide forms for the others, and skip spaces before them.
_FORMULA = r"^\s*[=+\-@|%\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]"


def visible(text: pl.Expr) -> pl.Expr:
    """Leave characters that can be seen, in one line."""
    return text.str.replace_all(_CONTROLS, " ").str.replace_all(_HIDDEN, "")


def quoted(text: pl.Expr) -> pl.Expr:
    """Leave characters that can be seen, and let no spreadsheet calculate them."""
    shown = visible(text)
    return pl.when(shown.str.contains(_FORMULA)).then(shown.str.replace("^", "'")).otherwise(shown)
