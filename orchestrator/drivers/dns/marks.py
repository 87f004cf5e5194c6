"""Whose a record is: the mark that we write beside it, and the refusal to touch one that does not carry it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from orchestrator.drivers.dns.records import Record
from orchestrator.drivers.httpjson import short

# A mark is also a TXT record's text: no quotes, no escapes.
UNQUOTABLE = re.compile(r"[^A-Za-z0-9_.-]")
# A person may have added a note behind it, so that a full stop at its end is not the id's.
_INSTANCE = re.compile(r"Managed by Hostwright\. instance=([A-Za-z0-9_.-]*[A-Za-z0-9_-])")


def mark_of(server_id: str) -> str:
    """Our ownership mark; a comment at Cloudflare's free plan holds 100 characters."""
    return f"Managed by Hostwright. instance={UNQUOTABLE.sub('', server_id)}"[:100]


def instance_in(note: str) -> str | None:
    """The instance whose mark a note begins with, of this site or of another; None for any other note."""
    found = _INSTANCE.match(note)
    return found[1] if found else None


def carries(note: str, mark: str) -> bool:
    """Whether a note is this mark, also with words that a person added behind it."""
    return instance_in(note) is not None and instance_in(note) == instance_in(mark)


def first_untouchable(found: Iterable[Record], mark: str, *, exclusive: bool) -> Record | None:
    """A record that does not carry our mark. In an `exclusive` zone only another instance's is spared."""
    others = (record for record in found if not carries(record.mark, mark))
    return next((record for record in others if not exclusive or instance_in(record.mark)), None)


def refusal(record: Record) -> tuple[str, str]:
    """What is said of a record that is not ours, and what to do about it."""
    what = f"{record.type} {record.value} of {record.name}"
    instance = instance_in(record.mark)
    if instance:
        return (
            f"{what} carries the mark of Hostwright's instance {instance} and was not touched",
            "delete that instance, or remove the record at the provider when no site of yours has it any more",
        )
    whose = f"is marked as somebody else's ({short(record.mark)})" if record.mark else "carries no mark of Hostwright"
    return (
        f"{what} {whose} and was not touched",
        "remove it at the provider, or say exclusive: true in this entry of hostwright_dns when the whole zone is "
        "Hostwright's",
    )
