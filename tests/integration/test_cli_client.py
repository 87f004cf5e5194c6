"""The commands of customers, against a real API."""

from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.domain.phases import Phase
from orchestrator.domain.updates import PhaseEntered
from orchestrator.store import leases
from tests.support.fix_api import Api, Caller, lease_of
from tests.support.fix_stack import GAME


def run(api: Api, caller: Caller, *arguments: str) -> list[str]:
    """The lines that a command prints into a pipe."""
    result = CliRunner().invoke(app, [*arguments, "--url", api.url, "--token", str(caller.token)])
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_case_e4_wraps_no_line_in_a_pipe(api: Api) -> None:
    caller, message = api.customer(), "choosing " * 30 + "a VMID"
    (hint,) = run(api, caller, "list")
    assert hint.endswith("--watch`")
    row = api.claim(caller.order(GAME)["operationId"])
    leases.record(api.database, lease_of(row), [PhaseEntered(Phase.ALLOCATE_VMID, message)])
    assert any(line.endswith(message) for line in run(api, caller, "logs", str(row.id)))
