"""Texts of one line that somebody else wrote: which characters they must not hold."""

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""The general categories (Unicode Standard, table 4-4) of what breaks a line, turns its direction or is not seen."""


def is_hidden(character: str) -> bool:
    """Whether a character is a control, a format character such as U+202E, a line separator or half a character."""
    return unicodedata.category(character) in _HIDDEN


def is_plain(text: str) -> bool:
    """Whether a text shows all that it holds, in one line and in order."""
    return not any(map(is_hidden, text))
