"""Dynamic updates with TSIG (RFC 2136): A, SRV and our mark in one message, all or nothing.

In-process on dnspython, which community.general.nsupdate uses too: as a module it costs about 0.3 s of CPU a
task, knows one record set at a time, and no prerequisites.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.update

from orchestrator.drivers import lease
from orchestrator.drivers.dns.base import DnsDriver, Provider
from orchestrator.drivers.dns.marks import carries
from orchestrator.drivers.dns.nameserver import NameserverError, read, split
from orchestrator.drivers.dns.records import Names, Record, owner_of

# RFC 8945, section 6, without the one it forbids.
ALGORITHMS = ("hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
DENIED = frozenset({dns.rcode.NOTAUTH, dns.rcode.REFUSED})
# A prerequisite did not hold: somebody else changed a record between our read and our write.
RACED = frozenset({dns.rcode.NXRRSET, dns.rcode.YXRRSET})
MARKED = frozenset({"A", "SRV", "TXT"})
"""The types that we publish. Whatever else is at our names is somebody else's, whatever the mark says."""


class Rfc2136(DnsDriver):
    """The mark is a TXT record below the host name, and holds for the A and SRV that we publish there together."""

    NEEDS = ("key_name",)

    def __init__(self, provider: Provider, mark: str, *, secret: str, timeout: float, quiet: float = math.inf) -> None:
        super().__init__(provider, mark, secret=secret, timeout=timeout, quiet=quiet)
        self._server = provider.server or provider.nameserver
        if provider.key_algorithm not in ALGORITHMS:
            raise provider.failure(f"unknown key_algorithm {provider.key_algorithm}", f"known: {', '.join(ALGORITHMS)}")
        try:
            # dnspython drops what is not base64 and goes on with another key.
            base64.b64decode(secret, validate=True)
            self._keyring = dns.tsigkeyring.from_text({provider.key_name: secret})
        except (ValueError, dns.exception.DNSException):
            raise provider.failure("the TSIG secret is not base64", f"correct the secret {provider.secret}") from None

    @staticmethod
    def marked(records: Sequence[Record], where: Names, mark: str) -> list[Record]:
        return [replace(record, mark=mark) for record in (*records, Record(where.owner, "TXT", mark))]

    def read(self, keys: Collection[tuple[str, str]]) -> list[Record]:
        owners = {(owner_of(*key), "TXT") for key in keys if key[1] in MARKED}
        # An alias is what the other questions are answered with.
        asked = owners | {key for key in keys if key[1] not in ("CNAME", "TXT")}
        answered = {record for key in sorted(asked) for record in self._ask(*key)}
        found = self._marked(answered)
        if not all(carries(one.mark, self.mark) for one in found):
            found = self._marked(self._without_wildcards(answered))
        return sorted(one for one in found if one.key in keys)

    def write(self, found: Sequence[Record], changes: Sequence[Record]) -> None:
        update = self._update(found, changes)
        for record in changes:
            update.replace(_absolute(record.name), record.ttl, record.type, _presentation(record))
        self._send(update)

    def delete(self, found: Sequence[Record]) -> None:
        update = self._update(found, found)
        for name, kind in sorted({record.key for record in found}):
            update.delete(_absolute(name), kind)
        self._send(update)

    def _ask(self, name: str, kind: str) -> list[Record]:
        try:
            return read(self._server, name, kind, self.timeout)
        except NameserverError as error:
            raise self.provider.failure(str(error), f"does it serve zone {self.provider.zone}?") from None

    def _marked(self, answered: Collection[Record]) -> list[Record]:
        """The records with the marks that stand beside them."""
        return [replace(one, mark=self._mark_on(one, answered)) for one in answered]

    def _mark_on(self, record: Record, answered: Collection[Record]) -> str:
        if record.type not in MARKED:
            return ""
        owner = owner_of(*record.key), "TXT"
        texts = [record.value] if record.type == "TXT" else sorted(one.value for one in answered if one.key == owner)
        return next((text for text in texts if carries(text, self.mark)), "".join(texts[:1]))

    def _without_wildcards(self, answered: Collection[Record]) -> list[Record]:
        """What is in the zone itself. Prerequisites are about that alone, and without changes they are a question."""
        keys = sorted({record.key for record in answered})
        real = keys if self._exist(keys) else [key for key in keys if self._exist([key])]
        return [record for record in answered if record.key in real]

    def _exist(self, keys: Collection[tuple[str, str]]) -> bool:
        question = self._begin()
        for name, kind in keys:
            question.present(_absolute(name), kind)
        return self._send(question, expected=(dns.rcode.NXRRSET,)) == dns.rcode.NOERROR

    def _begin(self) -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage(
            _absolute(self.provider.zone), keyring=self._keyring, keyalgorithm=self.provider.key_algorithm
        )

    def _update(self, found: Sequence[Record], touched: Sequence[Record]) -> dns.update.UpdateMessage:
        """An update that holds only if the mark, and all that it touches, still is what was read."""
        update = self._begin()
        before: dict[tuple[str, str], set[str]] = {record.key: set() for record in touched}
        for record in found:
            before.setdefault(record.key, set()).add(_presentation(record))
            if record.mark:
                before.setdefault((owner_of(*record.key), "TXT"), set()).add(f'"{record.mark}"')
        for (name, kind), values in sorted(before.items()):
            if values:
                update.present(_absolute(name), kind, *sorted(values))
            else:
                update.absent(_absolute(name), kind)
        return update

    def _send(self, update: dns.update.UpdateMessage, expected: Collection[dns.rcode.Rcode] = ()) -> dns.rcode.Rcode:
        """The answer's code, which is NOERROR or one of `expected`."""
        try:
            address, port = split(self._server)
            lease.require()
            response = dns.query.tcp(update, address, timeout=self.timeout, port=port)
        except dns.tsig.PeerError as error:
            raise self.provider.failure(
                f"rejects the TSIG signature: {type(error).__name__}",
                f"check key_name, secret {self.provider.secret} and both clocks",
            ) from None
        except (NameserverError, dns.exception.DNSException, OSError, EOFError) as error:
            words = str(error) or type(error).__name__
            # One that only asks changes nothing.
            unsure = bool(update.update) and not isinstance(error, (NameserverError, ConnectionRefusedError))
            raise self.provider.failure(f"no answer to the update: {words}", unsure=unsure) from None
        code = response.rcode()
        if code != dns.rcode.NOERROR and code not in expected:
            raise self.provider.failure(f"answers {dns.rcode.to_text(code)} to the update", self._remedy(code))
        return code

    def _remedy(self, code: dns.rcode.Rcode) -> str:
        if code in DENIED:
            return f"allow key {self.provider.key_name} to update zone {self.provider.zone}"
        if code in RACED:
            return "another run changed the same names at the same moment; run it again"
        return ""


def _absolute(name: str) -> str:
    return f"{name.removesuffix('.')}."


def _presentation(record: Record) -> str:
    if record.type == "TXT":
        return f'"{record.value}"'
    return _absolute(record.value) if record.type in ("SRV", "CNAME") else record.value
