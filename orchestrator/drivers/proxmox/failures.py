"""From an error of Proxmox to the one sentence, with cause and remedy, that ends the phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.drivers.proxmox.answers import Kind
from orchestrator.drivers.proxmox.client import Endpoint, ProxmoxError
from orchestrator.drivers.result import PhaseError


def explain(error: ProxmoxError, subject: str, endpoint: Endpoint, waited: float) -> PhaseError:
    """The failure for `subject` ("container 5000"), after `waited` seconds of trying."""
    sentence = _SENTENCES[error.kind](error, subject, endpoint, round(waited))
    known = {"proxmox": error.text, "http_status": error.status, **error.detail}
    return PhaseError(error.code, sentence, **{key: value for key, value in known.items() if value is not None})


def _denied(error: ProxmoxError, subject: str, endpoint: Endpoint, waited: int) -> str:
    token = f"{endpoint.user}!{endpoint.token_name}"
    if "tags" in error.detail:
        return (
            f"Proxmox does not let the token {token} set the tags of {subject} ({error.detail['tags']}), because the "
            f"cluster restricts tags: set its tag access (user-tag-access in datacenter.cfg) to user-allow=free, and "
            f"take hostwright off its registered-tags; Sys.Modify on / is not needed"
        )
    if error.privilege:
        return (
            f"Proxmox denied a request for {subject}: the token {token} lacks {error.privilege}; "
            f"grant it with pveum acl modify"
        )
    return f"Proxmox denied a request for {subject} ({error.text}): check the privileges of the token {token}"


def _unauthenticated(error: ProxmoxError, subject: str, endpoint: Endpoint, waited: int) -> str:
    return (
        f"Proxmox does not accept the token {endpoint.user}!{endpoint.token_name} ({error.text}): check its value in "
        f"the secrets file, and with pvecm status that node {endpoint.node} has its cluster file system"
    )


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


def _unknown(error: ProxmoxError, subject: str, endpoint: Endpoint, waited: int) -> str:
    return f"{_refused(error, subject, endpoint, waited)}, for {waited} s"


_SENTENCES: Mapping[Kind, Callable[[ProxmoxError, str, Endpoint, int], str]] = {
    Kind.UNREACHABLE: _unreachable,
    Kind.LOCKED: _locked,
    Kind.OUTDATED: _outdated,
    Kind.UNKNOWN: _unknown,
    Kind.UNAUTHENTICATED: _unauthenticated,
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
