"""Whether a player gets through: the checks that make an instance ready, each asking the outside itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from orchestrator.domain.errors import Code
from orchestrator.domain.probes import Probe
from orchestrator.drivers.dns.base import Provider
from orchestrator.drivers.dns.nameserver import NameserverError, lookup
from orchestrator.drivers.dns.records import Names, Record
from orchestrator.drivers.players.minecraft import PingError, ping
from orchestrator.drivers.players.probe import ProbeError, ask
from orchestrator.drivers.proxy.base import ProxyDriver, Registration
from orchestrator.drivers.result import LaterError, PhaseError

STEP_TIMEOUT = 2.0
SHORTEST_STEP = 0.2


class CheckError(Exception):
    """One sentence: what was expected and what was seen."""


@dataclass(frozen=True)
class Instance:
    """What is to be reachable: what was registered, and the records at each provider.

    `probe` is how the game is asked whether it is there; None is a Minecraft status ping.
    """

    wanted: Registration
    probe: Probe | None
    records: Sequence[tuple[Provider, Names, Sequence[Record]]]


@dataclass(frozen=True)
class Check:
    """`run` takes its time-out in seconds and returns a note for the log, or raises CheckError."""

    name: str
    run: Callable[[float], str]


def checks(instance: Instance, proxy: ProxyDriver) -> Iterator[Check]:
    """In the order in which a player meets them, the container before the edge in front of it."""
    for provider, _, records in instance.records:
        for record in records:
            yield Check(f"dns {provider.name} {record.type}", _answers(provider, record))
    yield Check("proxy", lambda _: _listed(instance.wanted, proxy))
    wanted = instance.wanted
    answers = _pings if instance.probe is None else _answers_to(instance.probe)
    yield Check("ping container", answers(wanted.address, wanted.port, wanted.name))
    for provider, names, _ in instance.records:
        yield Check(f"ping {provider.name}", answers(provider.address, wanted.public_port, names.host))


def parse_probe(protocol: str, probe: str | Mapping[str, Any]) -> Probe | None:
    """The catalogue's `probe` of a game. Raises PhaseError `internal` for one that cannot be asked."""
    if probe == "minecraft":
        return None
    try:
        fields = dict(probe) if isinstance(probe, Mapping) else {"send": probe}
        return Probe(protocol, *(bytes.fromhex(fields.pop(name, "")) for name in ("send", "expect")), **fields)
    except (TypeError, ValueError) as error:
        sentence = f"probe {probe!r} of the catalogue is neither minecraft nor hex strings send and expect: {error}"
        raise PhaseError(Code.INTERNAL, sentence) from None


@dataclass(frozen=True)
class Outcome:
    """`failed` is None when every check passed."""

    passed: dict[str, str]
    failed: str | None = None
    seen: str = ""


def run(todo: Sequence[Check], deadline: float) -> Outcome:
    """One pass until the first check that fails. Raises LaterError when the proxy wants to be left alone."""
    passed: dict[str, str] = {}
    for check in todo:
        timeout = min(STEP_TIMEOUT, max(deadline - time.monotonic(), SHORTEST_STEP))
        try:
            passed[check.name] = check.run(timeout)
        except CheckError as failure:
            return Outcome(passed, check.name, str(failure))
    return Outcome(passed)


def _answers(provider: Provider, record: Record) -> Callable[[float], str]:
    def run(timeout: float) -> str:
        values = _values(provider, record.name, record.type, timeout)
        if values != [record.value]:
            seen = ", ".join(values) or "no record"
            raise CheckError(
                f"{provider.nameserver} answers {seen} for {record.name} {record.type} instead of {record.value}"
            )
        if record.type == "A":
            _require_no_other_way(provider, record, _values(provider, record.name, "AAAA", timeout))
        return record.value

    return run


def _values(provider: Provider, name: str, kind: str, timeout: float) -> list[str]:
    try:
        return [value for value, _ in lookup(provider.nameserver, name, kind, timeout)]
    except NameserverError as error:
        raise CheckError(str(error)) from None


def _require_no_other_way(provider: Provider, record: Record, found: Sequence[str]) -> None:
    """Players with IPv6 would go by an AAAA record, which is never ours. DNS64 makes one that leads to our own A."""
    edge = IPv4Address(record.value).packed
    if others := [value for value in found if IPv6Address(value).packed[-4:] != edge]:
        raise CheckError(
            f"{provider.nameserver} answers AAAA {', '.join(others)} for {record.name}, which leads players with IPv6 "
            f"elsewhere: remove it"
        )


def _listed(wanted: Registration, proxy: ProxyDriver) -> str:
    try:
        backends = proxy.backends()
    except LaterError:
        raise  # it wants to be left alone, so it is not asked again with the next check
    except PhaseError as error:
        # It may be on its way back, so this is seen, not final.
        raise CheckError(error.message) from None
    if not backends:
        return "acknowledged, not verified: the proxy lists no backend at all"
    if proxy.routes(wanted, backends):
        return "listed"
    ours = [f"{one.address}:{one.port}" for one in backends if one.name in (wanted.name, *wanted.hostnames)]
    seen = f"lists {wanted.name} with {', '.join(ours)}" if ours else f"does not list {wanted.name}"
    raise CheckError(f"the proxy {seen}; expected {wanted.address}:{wanted.port}")


def _answers_to(probe: Probe) -> Callable[[str, int, str], Callable[[float], str]]:
    def answers(address: str, port: int, hostname: str) -> Callable[[float], str]:
        def run(timeout: float) -> str:
            try:
                return f"{ask(address, port, probe, timeout=timeout):.1f} ms"
            except ProbeError as error:
                raise CheckError(f"{hostname}: {error}") from None

        return run

    return answers


def _pings(address: str, port: int, hostname: str) -> Callable[[float], str]:
    def run(timeout: float) -> str:
        try:
            status = ping(address, port, hostname=hostname, timeout=timeout)
        except PingError as error:
            raise CheckError(f"status ping as {hostname}: {error}") from None
        return f"{status.version}, {status.players_online}/{status.players_max}, {status.latency_ms:.1f} ms"

    return run
