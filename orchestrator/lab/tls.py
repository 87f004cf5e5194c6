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

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context


def issue(directory: Path, addresses: Sequence[str]) -> ServerFiles:
    """One certificate for these IP addresses. The authority is kept, so clients trust it over restarts."""
    authority = _authority(directory / "ca.pem", directory / "ca.key")
    leaf = authority.issue_cert(*addresses)
    files = ServerFiles(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    write_atomic(files.certificate, b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    write_atomic(files.key, leaf.private_key_pem.bytes(), mode=0o600)
    return files


def _authority(certificate: Path, key: Path) -> trustme.CA:
    if certificate.exists() and key.exists():
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    authority = trustme.CA(organization_name="Hostwright lab")
    write_atomic(key, authority.private_key_pem.bytes(), mode=0o600)
    write_atomic(certificate, authority.cert_pem.bytes())
    return authority
