"""What the host writes into a container's root before each start, as Proxmox does; and its agent's options."""

from pathlib import Path

from orchestrator.lab.errors import LabError
from orchestrator.lab.guests.driver import paces
from orchestrator.lab.guests.lxc import AGENT_UNIT, Network

FAULTS_NAME = "agent-faults.json"
FAULTS = "mnt/hostwright-lab"
"""Where the directory of the faults is bound to, below the container's root; the two below are bound likewise."""
ARTIFACTS = "srv/hostwright-artifacts"
TOKEN = "etc/hostwright-agent/token"  # noqa: S105 - its path
AGENT_USER = "hostwright-agent"

# Only the lab's containers have it: an agent that dies shall stay dead there, because a test says when it comes back.
DROP_IN = f"""[Service]
Restart=no
ReadWritePaths=/{FAULTS}
"""


def write_identity(root: Path, hostname: str) -> None:
    _write(root / "etc" / "hostname", f"{hostname}\n")
    _write(root / "etc" / "hosts", f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n")


def write_network(root: Path, network: Network) -> None:
    """The file that systemd-networkd reads for eth0."""
    lines = ["[Match]", "Name=eth0", "[Network]", "LinkLocalAddressing=ipv6", "IPv6AcceptRA=no"]
    if network.address is None:
        lines += ["DHCP=ipv4", "[DHCPv4]", "ClientIdentifier=mac"]
    else:
        lines += [f"Address={network.address}"]
        lines += [f"Gateway={network.gateway}"] if network.gateway else []
    _write(network_file(root), "\n".join(lines) + "\n")


def network_file(root: Path) -> Path:
    return root / "etc" / "systemd" / "network" / "eth0.network"


def write_agent_options(root: Path, *, speed: float, has_token: bool) -> None:
    """Durations, faults, and whether there is a token that callers must send."""
    options = [*paces(speed), "--faults", f"/{FAULTS}/{FAULTS_NAME}"]
    if has_token:
        options += ["--token-file", f"/{TOKEN}"]
    _write(root / "etc" / "default" / "hostwright-agent", f"OPTIONS={' '.join(options)}\n")
    _write(root / "etc" / "systemd" / "system" / f"{AGENT_UNIT}.d" / "lab.conf", DROP_IN)


def agent_user(image: Path) -> tuple[int, int]:
    """User and group id of the agent in the containers of a template. Raises LabError when it has none."""
    for line in (image / "etc" / "passwd").read_text().splitlines():
        name, _, uid, gid, *_ = line.split(":")
        if name == AGENT_USER:
            return int(uid), int(gid)
    raise LabError(f"the template in {image} has no user {AGENT_USER}: build it again with `make lab-setup`")


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
