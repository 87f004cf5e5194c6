"""From an error of Proxmox to the one sentence, with cause and remedy, that ends the phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.drivers.proxmox.client import Endpoint, Kind, ProxmoxError
from orchestrator.drivers.result import PhaseError


def explain(error: ProxmoxError, subject: str, endpoint: Endpoint, waited: float) -> PhaseError:
    """The failure for `subject` ("container 5000"), after `waited` seconds of trying."""
    sentence = _SENTENCES[error.kind](error, subject, endpoint, round(waited))
    known = {"proxmox": error.text, "http_status": error.status, **error.detail}
    return PhaseError(error.code, sentence, **{key: value for key, value in known.items() if value is not None})


def _denied(error: ProxmoxError, subject: str, endpoint: Endpoint, waited: int) -> str:
    token = f"{endpoint.user}!{endpoint.token_name}"
    if error.status == 401:
        return f"Proxmox does not accept the token {token} ({error.text}): check its value in the secrets file"
    if error.privilege:
        return (
            f"Proxmox denied a request for {subject}: the token {token} lacks {error.privilege}; "
            f"grant it with pveum acl modify"
        )
    return f"Proxmox denied a request for {subject} ({error.text}): check the privileges of the token {token}"


def _unreachable(error: ProxmoxError, subject: str, endpoint: Endpoint, waited: int) -> str:
    return (
        f"Proxmox at {endpoint.host}:{endpoint.port} gave no usable answer about {subject} for {waited} s "
        f"({error.text}): check that pveproxy and pvedaemon run on node {endpoint.node}"
    )


def _locked(error: ProxmoxError, subject: str, endpoint: Endpoint, waited: int) -> str:
    return (
        f"{subject} was still locked by another task after {waited} s ({error.text}): "
        f"wait for that task, or remove a stale lock with pct unlock"
    )


def _outdated(error: ProxmoxError, subject: str, endpoint: Endpoint, waited: int) -> str:
    return f"{subject} kept changing under our hands for {waited} s ({error.text}): see who else works on it"


def _refused(error: ProxmoxError, subject: str, endpoint: Endpoint, waited: int) -> str:
    upid = error.detail.get("upid")
    if upid:
        return f"the Proxmox task for {subject} failed: {error.text} (log: pvenode task log {upid})"
    return f"Proxmox refused a request for {subject}: {error.text}"


_SENTENCES: Mapping[Kind, Callable[[ProxmoxError, str, Endpoint, int], str]] = {
    Kind.UNREACHABLE: _unreachable,
    Kind.LOCKED: _locked,
    Kind.OUTDATED: _outdated,
    Kind.DENIED: _denied,
    Kind.TAKEN: _refused,
    Kind.REFUSED: _refused,
    Kind.MISSING: lambda error, subject, endpoint, waited: (
        f"{subject} does not exist on node {endpoint.node}: provision it first"
    ),
    Kind.FULL: lambda error, subject, endpoint, waited: (
        f"the storage has no room for {subject} ({error.text}): free space on node {endpoint.node}"
    ),
    Kind.UNTRUSTED: lambda error, subject, endpoint, waited: (
        f"the certificate of Proxmox at {endpoint.host}:{endpoint.port} does not verify ({error.text}): "
        f"point ca_file at the authority that signed it"
    ),
}
