"""Unit tests decide without a database server: one that asks for it, directly or through others, is not collected."""

from collections.abc import Generator

import pytest

SERVERS = {"server_url", "shared_stack"}


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    wrong = [item.name for item in report.result or () if SERVERS.intersection(getattr(item, "fixturenames", ()))]
    if wrong:
        report.outcome = "failed"
        report.longrepr = f"{', '.join(wrong)}: what needs a database server belongs to tests/integration"
    return report
