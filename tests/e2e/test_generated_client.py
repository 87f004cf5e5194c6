"""A client that a public generator makes of /openapi.json, as a customer's programmer would, and what it can do."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.settings import PROJECT_DIR
from tests.support.fix_stack import FINAL, Running
from tests.support.observe import agent_status

GENERATOR = PROJECT_DIR / ".venv-client" / "bin" / "openapi-python-client"
PACKAGE = "generated_hostwright_client"
ENV = {"MOTD": "hello from a generated client", "DIFFICULTY": "hard"}


@pytest.fixture(scope="module")
def package(shared_stack: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a package that was generated from the document of the running API. A warning fails."""
    assert GENERATOR.exists(), "`make test` installs the generator from requirements/client.lock"
    folder = tmp_path_factory.mktemp("client")
    config = folder / "config.yml"
    config.write_text("post_hooks: []\n")
    command = [str(GENERATOR), "generate", "--url", f"{shared_stack.url}/openapi.json", "--config", str(config)]
    command += ["--meta", "none", "--output-path", str(folder / PACKAGE), "--fail-on-warning"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    sys.path.insert(0, str(folder))
    yield PACKAGE
    sys.path.remove(str(folder))


@dataclass(frozen=True)
class Generated:
    """The package, imported part by part, with a customer's token."""

    package: str
    client: Any

    @property
    def models(self) -> Any:
        """The classes of what is sent and answered."""
        return importlib.import_module(f"{self.package}.models")

    def ask(self, operation: str, *given: Any, **named: Any) -> Any:
        """The answer to an operation, as the client reads it."""
        (found,) = Path(str(self.models.__file__)).parents[1].glob(f"api/*/{operation}.py")
        module = importlib.import_module(f"{self.package}.api.{found.parent.name}.{operation}")
        answer = module.sync_detailed(*given, client=self.client, **named)
        assert answer.status_code < 300, answer.content
        return answer.parsed


@contextmanager
def connected(package: str, url: str, token: str) -> Iterator[Generated]:
    """The generated client, whose connections are closed at the end. An answer without a description raises."""
    make = importlib.import_module(f"{package}.client").AuthenticatedClient
    options = {"httpx_args": {"trust_env": False}, "timeout": httpx.Timeout(60), "raise_on_unexpected_status": True}
    with make(url, token, **options) as client:
        yield Generated(package, client)


def test_case_f1_orders_with_env_watches_and_deletes(stack: Running, package: str) -> None:
    customer = stack.customer()
    with connected(package, stack.url, customer.token) as client:
        order = client.models.GameOrder(ctype="game", variant="vanilla", version="1.21.7")
        order.env = client.models.GameOrderEnv.from_dict(ENV)
        accepted = client.ask("order_instance", body=order, idempotency_key="of-a-generated-client")

        operation = client.ask("show_operation", accepted.operation_id)
        while operation.status not in FINAL:
            operation = client.ask("show_operation", accepted.operation_id, prefer="wait=5")
        assert (operation.status, operation.error) == ("succeeded", None)
        assert operation.request.additional_properties["env"] == dict.fromkeys(ENV, "***")
        instance = client.ask("show_instance", accepted.server_id)
        assert instance.status == "ready"
        assert agent_status(stack.lab, instance.vmid)["config"]["env"] == ENV

        deleted = client.ask("delete_instance", accepted.server_id)
        assert stack.finish(customer, str(deleted.operation_id))["status"] == "succeeded"
        assert client.ask("list_instances").instances == []
