"""The files that the lab writes into a container's root before each start, as Proxmox does, and its agent's options."""

from pathlib import Path

from orchestrator.lab.errors import LabError
from orchestrator.lab.guests.agent import duration_options
from orchestrator.lab.guests.lxc.container import Interface
from orchestrator.lab.guests.lxc.kernel import AGENT_UNIT

FAULTS_NAME = "agent-faults.json"
# Paths below a container's root, to which the lab binds its own files.
FAULTS = "mnt/hostwright-lab"
ARTIFACTS = "srv/hostwright-artifacts"
TOKEN = "etc/hostwright-agent/token"  # noqa: S105 - its path
AGENT_USER = "hostwright-agent"

# Only in the lab an agent that dies stays dead, because there a fault says when it comes back.
DROP_IN = f"""[Service]
Restart=no
ReadWritePaths=/{FAULTS}
"""


def write_identity(root: Path, hostname: str) -> None:
    _write(root / "etc" / "hostname", f"{hostname}\n")
    _write(root / "etc" / "hosts", f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n")


def write_network(root: Path, interface: Interface) -> None:
    """Write the file that systemd-networkd reads for eth0."""
    lines = ["[Match]", "Name=eth0", "[Network]", "LinkLocalAddressing=ipv6", "IPv6AcceptRA=no"]
    if interface.address is None:
        lines += ["DHCP=ipv4", "[DHCPv4]", "ClientIdentifier=mac"]
    else:
        lines += [f"Address={interface.address}"]
        lines += [f"Gateway={interface.gateway}"] if interface.gateway else []
    _write(network_file(root), "\n".join(lines) + "\n")


def network_file(root: Path) -> Path:
    return root / "etc" / "systemd" / "network" / "eth0.network"


def write_agent_options(root: Path, *, speed: float, has_token: bool) -> None:
    """Tell the agent its durations, where its faults are, and whether callers must send a token."""
    options = [*duration_options(speed), "--faults", f"/{FAULTS}/{FAULTS_NAME}"]
    if has_token:
        options += ["--token-file", f"/{TOKEN}"]
    _write(root / "etc" / "default" / "hostwright-agent", f"OPTIONS={' '.join(options)}\n")
    _write(root / "etc" / "systemd" / "system" / f"{AGENT_UNIT}.d" / "lab.conf", DROP_IN)


def find_agent_user(image: Path) -> tuple[int, int]:
    """User and group id of the agent in a template. Raises LabError when the template has no such user."""
    for line in (image / "etc" / "passwd").read_text().splitlines():
        name, _, uid, gid, *_ = line.split(":")
        if name == AGENT_USER:
            return int(uid), int(gid)
    raise LabError(f"the template in {image} has no user {AGENT_USER}: build it again with `make lab-setup`")


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
