"""The lab's own certificate authority and the certificate of its servers."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from orchestrator.lab.files import write_atomic


@dataclass(frozen=True)
class ServerFiles:
    """PEM files: clients verify with `ca`; servers present `certificate` with `key`."""

    ca: Path
    certificate: Path
    key: Path

    def make_context(self) -> ssl.SSLContext:
        """The TLS context of a server."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context


def issue_certificate(directory: Path, addresses: Sequence[str]) -> ServerFiles:
    """Issue one certificate for all these IP addresses.

    The authority in the directory is kept, so that clients trust it over restarts."""
    authority = _load_or_make_authority(directory / "ca.pem", directory / "ca.key")
    leaf = authority.issue_cert(*addresses)
    files = ServerFiles(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    write_atomic(files.certificate, b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    write_atomic(files.key, leaf.private_key_pem.bytes(), mode=0o600)
    return files


def _load_or_make_authority(certificate: Path, key: Path) -> trustme.CA:
    if certificate.exists() and key.exists():
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    authority = trustme.CA(organization_name="Hostwright lab")
    write_atomic(key, authority.private_key_pem.bytes(), mode=0o600)
    write_atomic(certificate, authority.cert_pem.bytes())
    return authority
