"""Dynamic updates with TSIG (RFC 2136): A, SRV and our mark in one message, all or nothing.

In-process on dnspython, which community.general.nsupdate uses too: as a module it costs about 0.3 s of CPU a
task, knows one record set at a time, and no prerequisites.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.update

from orchestrator.drivers import lease
from orchestrator.drivers.dns.base import DnsDriver, Provider
from orchestrator.drivers.dns.nameserver import NameserverError, lookup, split
from orchestrator.drivers.dns.records import TTL, Names, Record

# RFC 8945, section 6, without the one it forbids.
ALGORITHMS = ("hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
DENIED = frozenset({dns.rcode.NOTAUTH, dns.rcode.REFUSED})
# A prerequisite did not hold: somebody else changed the mark between our read and our write.
RACED = frozenset({dns.rcode.NXRRSET, dns.rcode.YXRRSET})


class Rfc2136(DnsDriver):
    def __init__(self, provider: Provider, mark: str, *, key: str, timeout: float) -> None:
        super().__init__(provider, mark)
        self._timeout = timeout
        self._server = provider.server or provider.nameserver
        if not provider.key_name:
            raise provider.failure("has no key_name", "add the TSIG key's name to its entry in hostwright_dns")
        if provider.key_algorithm not in ALGORITHMS:
            raise provider.failure(f"unknown key_algorithm {provider.key_algorithm}", f"known: {', '.join(ALGORITHMS)}")
        try:
            # dnspython drops what is not base64 and goes on with another key.
            base64.b64decode(key, validate=True)
            self._keyring = dns.tsigkeyring.from_text({provider.key_name: key})
        except (ValueError, dns.exception.DNSException):
            raise provider.failure("the TSIG secret is not base64", f"correct the secret {provider.secret}") from None

    def marked(self, records: Sequence[Record], where: Names) -> list[Record]:
        return [*records, Record(where.owner, "TXT", self.mark, TTL)]

    def read(self, where: Names) -> list[Record]:
        kinds = ((where.host, "A"), (where.service, "SRV"), (where.owner, "TXT"))
        try:
            return [
                Record(name, kind, value, ttl)
                for name, kind in kinds
                for value, ttl in lookup(self._server, name, kind, self._timeout)
            ]
        except NameserverError as error:
            raise self.provider.failure(str(error), f"does it serve zone {self.provider.zone}?") from None

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

    def _update(self, found: Sequence[Record], touched: Sequence[Record]) -> dns.update.UpdateMessage:
        """An update that holds only if the mark still is what was read."""
        update = dns.update.UpdateMessage(
            _absolute(self.provider.zone),
            keyring=self._keyring,
            keyalgorithm=self.provider.key_algorithm,
        )
        marks = [record for record in found if record.type == "TXT"]
        for mark in marks:
            update.present(_absolute(mark.name), "TXT", _presentation(mark))
        for record in touched:
            if record.type == "TXT" and not marks:
                update.absent(_absolute(record.name), "TXT")
        return update

    def _send(self, update: dns.update.UpdateMessage) -> None:
        try:
            address, port = split(self._server)
            lease.require()
            response = dns.query.tcp(update, address, timeout=self._timeout, port=port)
        except dns.tsig.PeerError as error:
            raise self.provider.failure(
                f"rejects the TSIG signature: {type(error).__name__}",
                f"check key_name, secret {self.provider.secret} and both clocks",
            ) from None
        except (NameserverError, dns.exception.DNSException, OSError) as error:
            words = str(error) or type(error).__name__
            raise self.provider.failure(f"no answer to the update: {words}") from None
        code = response.rcode()
        if code != dns.rcode.NOERROR:
            raise self.provider.failure(f"answers {dns.rcode.to_text(code)} to the update", self._remedy(code))

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
    return _absolute(record.value) if record.type == "SRV" else record.value
