"""Compares what a command prints with what the page shows, and learns which of the page's names stands for which."""

import re
from collections.abc import Mapping, Sequence

from tests.support.doc_blocks import GAP

# What differs from run to run. Names are learned: a later command of the page means the same server by them.
_NAMES = {
    "uuid": r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
    "address": r"\b(?:127|10)\.\d+\.\d+\.\d+\b",
    "vmid": r"(?<![:.\d])\b[56]\d{3}\b(?!\.\d)",
}
_VALUES = {
    "token": r"hw_[\w-]+|hw_…",
    "day": r"\b\d{4}-\d\d-\d\d\b(?!T)",
    "moment": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "clock": r"\b\d\d:\d\d(?::\d\d(?:\.\d+)?)?",
    "span": r"\b\d+\.\d+(?= m?s\b)",
    "space": r"\s+",
}
_PARTS = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in (_VALUES | _NAMES).items()))


class DifferenceError(AssertionError):
    """One sentence: which line of the page does not appear."""


def learn(shown: Sequence[str], printed: Sequence[str]) -> dict[str, str]:
    """The page's ids, addresses and VMIDs, each with the real one. Raises DifferenceError.

    Every line that is shown must be printed, in the same order and with nothing between, except where the page says
    that something is left out. Blank lines do not count.
    """
    names: dict[str, str] = {}
    waiting = [line.rstrip() for line in printed if line.strip()]
    may_skip = False
    for line in filter(str.strip, shown):
        if line.strip() == GAP:
            may_skip = True
            continue
        pattern, kinds = _pattern(line.rstrip())
        for number, candidate in enumerate(waiting if may_skip else waiting[:1]):
            if found := pattern.fullmatch(candidate):
                names.update(zip(kinds, found.groups(), strict=True))
                waiting = waiting[number + 1 :]
                break
        else:
            raise DifferenceError(f"the page shows {line!r}, but what follows is {waiting[:3]}")
        may_skip = False
    return names


def rename(text: str, names: Mapping[str, str]) -> str:
    """A text of the page with the real names in place of the page's."""
    if not names:
        return text
    every = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w.:])(?:{every})(?!\w|\.\d)", lambda found: names[found[0]], text)


def _pattern(line: str) -> tuple[re.Pattern[str], list[str]]:
    """What a line must look like, and the names of the page in it, in the order of the groups."""
    pattern, names, end = "", [], 0
    for part in _PARTS.finditer(line):
        kind = str(part.lastgroup)
        pattern += re.escape(line[end : part.start()])
        if kind in _NAMES:
            names.append(part[0])
            pattern += f"({_NAMES[kind]})"
        else:
            pattern += f"(?:{_VALUES[kind]})"
        end = part.end()
    return re.compile(pattern + re.escape(line[end:])), names
