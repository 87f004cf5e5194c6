"""`python -m orchestrator.lab` runs the lab in the foreground until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import math
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.lab.data_centre import Options, run_data_centre
from orchestrator.lab.errors import LabError

log = logging.getLogger("orchestrator.lab")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 after a signal, 1 with one sentence when the lab cannot run."""
    parsed = _make_parser().parse_args(arguments)
    level = logging.DEBUG if parsed.verbose else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=level, format="%(asctime)s %(name)s %(message)s")
    options = Options(parsed.state_dir.resolve(), parsed.speed, parsed.block, parsed.callback_url, parsed.guests)
    try:
        asyncio.run(_run(options))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"lab: cannot run: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with run_data_centre(options) as lab:
        log.info("the lab runs; control API at %s", lab["controlUrl"])
        await stop.wait()
        log.info("the lab stops")


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator.lab",
        description="A data centre on loopback: Proxmox with real guests, DNS, and proxies for players.",
    )
    parser.add_argument("--state-dir", type=Path, required=True, help="the lab keeps its files in <dir>/lab")
    parser.add_argument(
        "--speed", type=_parse_speed, default=1.0, help="multiplies durations: 0 for none, 1 for real ones"
    )
    parser.add_argument("--block", type=_parse_block, help="use the addresses 127.BLOCK.0.0/16 (default: free ones)")
    parser.add_argument("--callback-url", help="where the proxy's bridge reports registrations")
    parser.add_argument(
        "--guests",
        choices=["process", "lxc"],
        default="process",
        help="what a container is: its agent as a process, or a real LXC container (root; `make lab-setup` first)",
    )
    parser.add_argument("--verbose", action="store_true", help="log every refused connection and callback")
    return parser


def _parse_speed(text: str) -> float:
    speed = float(text)
    if not math.isfinite(speed) or speed < 0:
        raise argparse.ArgumentTypeError("must be a number of at least 0")
    return speed


def _parse_block(text: str) -> int:
    block = int(text)
    if not 2 <= block <= 254:
        raise argparse.ArgumentTypeError("must be from 2 to 254")
    return block


if __name__ == "__main__":
    sys.exit(main())
