"""A pooler between Hostwright and its database is refused when it shares sessions, and works when it does not."""

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.domain.errors import ConfigurationError
from orchestrator.store import migrations
from tests.servers.pooler import running_pooler


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("command", ["serve --port 0", "worker", "check", "migrate", "customer list"])
def test_case_d3_refuses_a_pooler_that_shares_sessions(database_url: str, mode: str, command: str) -> None:
    with running_pooler(database_url, mode) as url:
        result = CliRunner().invoke(app, command.split(), env={"HOSTWRIGHT_DATABASE_URL": url})
        assert isinstance(result.exception, ConfigurationError)
        assert "a pooler that shares sessions" in str(result.exception)


def test_case_d3_works_behind_a_pooler_that_keeps_them_apart(database_url: str) -> None:
    with running_pooler(database_url, "session") as url:
        assert migrations.migrate(url) == []
        migrations.require_current(url)
