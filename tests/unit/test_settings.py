"""Wrong settings are named, all at once, before anything starts."""

from pathlib import Path

import pytest

from orchestrator.domain.errors import ConfigurationError
from orchestrator.domain.phases import Phase
from orchestrator.settings import load_settings


def test_reads_the_environment_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTWRIGHT_CONCURRENCY", "7")
    monkeypatch.setenv("HOSTWRIGHT_PHASE_TIMEOUTS", '{"wait-for-ip": 5}')
    settings = load_settings()
    assert settings.concurrency == 7
    assert settings.timeout(Phase.WAIT_FOR_IP) == 5
    assert settings.timeout(Phase.CLONE_CONTAINER) == Phase.CLONE_CONTAINER.limit_seconds


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PORT", "70000", "HOSTWRIGHT_PORT"),
        ("CONCURRENCY", "none", "HOSTWRIGHT_CONCURRENCY"),
        ("PHASE_TIMEOUTS", "abc", 'HOSTWRIGHT_PHASE_TIMEOUTS: Value error, must be JSON such as {"wait-for-ip": 60}'),
        ("PHASE_TIMEOUTS", "5", "HOSTWRIGHT_PHASE_TIMEOUTS: Input should be a valid dictionary"),
        ("PHASE_TIMEOUTS", '{"clone": 5}', "HOSTWRIGHT_PHASE_TIMEOUTS (clone)"),
        ("PHASE_TIMEOUTS", '{"complete": 5}', "complete only writes rows"),
        ("PHASE_TIMEOUTS", '{"wait-for-ip": 0}', "wait-for-ip: the timeout must be positive"),
        (
            "HEARTBEAT_SECONDS",
            "5",
            "HOSTWRIGHT_HEARTBEAT_SECONDS must be at most a quarter of HOSTWRIGHT_LEASE_SECONDS",
        ),
    ],
)
def test_names_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str) -> None:
    monkeypatch.setenv(f"HOSTWRIGHT_{name}", value)
    monkeypatch.setenv("HOSTWRIGHT_LEASE_SECONDS", "10")
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    assert told in str(error.value)


def test_reads_the_named_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "hostwright.toml"
    file.write_text("concurrency = 7\nphase_timeouts = {wait-for-ip = 5}\n")
    monkeypatch.setenv("HOSTWRIGHT_CONFIG", str(file))
    settings = load_settings()
    assert (settings.concurrency, settings.timeout(Phase.WAIT_FOR_IP)) == (7, 5)


@pytest.mark.parametrize("content", [b"concurrency = ", b"\xff"])
def test_names_a_file_that_is_not_toml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "hostwright.toml"
    file.write_bytes(content)
    monkeypatch.setenv("HOSTWRIGHT_CONFIG", str(file))
    with pytest.raises(ConfigurationError, match=f"HOSTWRIGHT_CONFIG: {file} is not valid TOML"):
        load_settings()


def test_names_a_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTWRIGHT_CONFIG", "/proc/self/mem")
    with pytest.raises(ConfigurationError, match="HOSTWRIGHT_CONFIG: /proc/self/mem cannot be read"):
        load_settings()


def test_refuses_a_named_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTWRIGHT_CONFIG", "/nowhere/hostwright.toml")
    with pytest.raises(ConfigurationError, match="which is not a file"):
        load_settings()


@pytest.mark.parametrize("url", ["https://api.example.net", "http://10.0.0.5:8700", "https://example.net/hostwright"])
def test_case_d8_takes_a_public_url_with_a_path(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HOSTWRIGHT_PUBLIC_URL", url)
    assert load_settings().public_url == url


@pytest.mark.parametrize("url", ["api.example.net", "https://x/", "https://x/y/", "https://x//y", "https://x/y?z=1"])
def test_case_d8_refuses_what_a_path_cannot_follow(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HOSTWRIGHT_PUBLIC_URL", url)
    with pytest.raises(ConfigurationError, match="HOSTWRIGHT_PUBLIC_URL"):
        load_settings()
