"""Reads the settings from the environment (`HOSTWRIGHT_…`), then from the TOML file that `HOSTWRIGHT_CONFIG` names.

What is in neither has the default of this module. docs/configuration.md lists every setting, and a test compares that
page with this module.
"""

import json
import os
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from orchestrator.domain.errors import ConfigurationError
from orchestrator.domain.operations import OperationKind
from orchestrator.domain.phases import Phase

PROJECT_DIR = Path(__file__).resolve().parent.parent


def default_state_dir() -> Path:
    """Return the default state directory: a system directory for root, and one of the user for everybody else."""
    if os.geteuid() == 0:
        return Path("/var/lib/hostwright")
    return platformdirs.user_state_path("hostwright")


class Settings(BaseSettings):
    """Every setting of the API, the worker and the command line."""

    model_config = SettingsConfigDict(env_prefix="HOSTWRIGHT_", extra="forbid", frozen=True, enable_decoding=False)

    state_dir: Path = Field(default_factory=default_state_dir, description="Directory of all local state.")
    database_url: str | None = Field(
        default=None,
        description="URL of a database of PostgreSQL 15 or newer; unset: the embedded server in the state directory.",
    )
    host: str = Field(default="127.0.0.1", description="Address on which the API listens.")
    port: int = Field(default=8700, ge=0, le=65535, description="Port on which the API listens; 0: a free one.")
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/?#]+(/[^\s/?#]+)*$",
        description="URL at which clients and containers reach the API, such as https://example.net/hostwright; every "
        "link of an answer begins with its path. Unset: agents get no callback_url.",
    )
    inventory: Path = Field(
        default=PROJECT_DIR / "inventory" / "lab",
        description="Ansible inventory directory; its group_vars/all/catalogue.yml is the catalogue.",
    )
    secrets_file: Path | None = Field(
        default=None,
        description="JSON file (mode 0600) with the secrets that the inventory names; "
        "unset: lab/secrets.json in the state directory.",
    )
    concurrency: int = Field(
        default=1, ge=1, le=256, description="Operations that run at once on all workers of the database together."
    )
    node_concurrency: int | None = Field(
        default=None, ge=1, le=256, description="Operations that run at once on one Proxmox node; unset: no limit."
    )
    threads: int | None = Field(
        default=None, ge=1, le=256, description="Operations that this worker runs at once; unset: `concurrency`."
    )
    lease_seconds: float = Field(default=30, ge=3, description="Seconds for which a claim holds without a heartbeat.")
    heartbeat_seconds: float = Field(
        default=1, gt=0, le=5, description="Seconds between two heartbeats of a running operation."
    )
    sweep_seconds: float = Field(default=5, gt=0, description="Seconds between two sweeps of a worker.")
    requeue_seconds: float = Field(
        default=10, gt=0, description="Seconds after which workers are woken again for an operation that nobody took."
    )
    operation_deadline_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Seconds that an operation may run in all before it fails; unset: the deadline of its kind.",
    )
    queue_deadline_seconds: float = Field(
        default=1800, gt=0, description="Seconds that an order may wait for a worker before it fails."
    )
    drain_seconds: float = Field(
        default=60,
        ge=0,
        description="Seconds that a leaving worker lets its operations run before it hands them over.",
    )
    cleanup_retry_seconds: float = Field(
        default=60,
        gt=0,
        description="Seconds after which the removal of what was left behind is tried again; "
        "they double with each try, up to an hour.",
    )
    publish_within_seconds: float = Field(
        default=3600,
        ge=0,
        description="Seconds after an order within which its publish is put off for a name service or proxy "
        "that wants to be left alone. Its machine is kept until then.",
    )
    quarantine_seconds: float = Field(
        default=86400, gt=0, description="Seconds for which a failed machine is kept when its customer asked for that."
    )
    proxy_status_seconds: float = Field(
        default=60, ge=0, description="Seconds for which what the proxy last said of a server is shown."
    )
    phase_timeouts: dict[Phase, int] = Field(
        default_factory=dict, description="Time limits in seconds by phase name; other phases keep their default."
    )
    rate_per_second: float = Field(
        default=50, ge=0, description="Requests a second that one token may make in the long run; 0: no limit."
    )
    rate_burst: int = Field(default=200, ge=1, description="Requests that one token may make at once.")
    change_rate_per_second: float = Field(
        default=10,
        ge=0,
        description="Changing requests a second in the long run by one token; 0: no limit of their own.",
    )
    change_rate_burst: int = Field(default=60, ge=1, description="Changing requests that one token may make at once.")
    streams_per_token: int = Field(
        default=50,
        ge=1,
        description="Streams that a customer's token may have open at once; an operator's may have ten times as many.",
    )
    failed_auth_per_second: float = Field(
        default=2, ge=0, description="Requests a second with a bad token that one address may make; 0: no limit."
    )
    failed_auth_burst: int = Field(
        default=100, ge=1, description="Requests with a bad token that one address may make at once."
    )
    trusted_proxies: str | None = Field(
        default=None,
        description="Addresses or networks, separated by commas, whose X-Forwarded-For and X-Forwarded-Prefix are "
        "believed; unset: none.",
    )
    pool_size: int = Field(default=8, ge=2, description="Database connections of one process.")

    @model_validator(mode="after")
    def _check_heartbeat(self) -> Self:
        if self.heartbeat_seconds > self.lease_seconds / 4:
            raise ValueError("HOSTWRIGHT_HEARTBEAT_SECONDS must be at most a quarter of HOSTWRIGHT_LEASE_SECONDS")
        return self

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: str | None) -> str | None:
        _parse_networks(value)
        return value

    @field_validator("phase_timeouts", mode="before")
    @classmethod
    def _decode(cls, value: object) -> object:
        """Read what the environment holds; the file holds a table."""
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError('must be JSON such as {"wait-for-ip": 60}') from None

    @field_validator("phase_timeouts")
    @classmethod
    def _check_phases(cls, value: dict[Phase, int]) -> dict[Phase, int]:
        for phase, seconds in value.items():
            if not phase.is_played:
                raise ValueError(f"{phase} only writes rows and has no timeout")
            if seconds <= 0:
                raise ValueError(f"{phase}: the timeout must be positive")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment before the file. Raises ConfigurationError when HOSTWRIGHT_CONFIG cannot be read."""
        named = os.environ.get("HOSTWRIGHT_CONFIG")
        if named is None:
            return init_settings, env_settings
        try:
            if not Path(named).is_file():
                raise ConfigurationError(f"HOSTWRIGHT_CONFIG names {named}, which is not a file")
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(named))
        except OSError as error:
            raise ConfigurationError(
                f"HOSTWRIGHT_CONFIG: {named} cannot be read ({error.strerror}): make it readable for this user"
            ) from error
        except ValueError as error:
            raise ConfigurationError(
                f"HOSTWRIGHT_CONFIG: {named} is not valid TOML ({error}): mend the file"
            ) from error

    def timeout(self, phase: Phase) -> int:
        """Return the seconds that a played phase may take."""
        return self.phase_timeouts.get(phase) or phase.limit_seconds or 0

    def deadline(self, kind: OperationKind) -> float:
        """Return the seconds that an operation of this kind may run in all."""
        return kind.deadline(self.operation_deadline_seconds)

    @property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks whose X-Forwarded-For and X-Forwarded-Prefix are believed."""
        return _parse_networks(self.trusted_proxies)

    @property
    def public_path(self) -> str:
        """The path of the public URL, such as /hostwright, or nothing."""
        return urlsplit(self.public_url or "").path

    @property
    def secrets_path(self) -> Path:
        """The file with the secrets that the inventory names."""
        return self.secrets_file or self.state_dir / "lab" / "secrets.json"

    @property
    def catalogue_path(self) -> Path:
        """The file with the catalogue of what can be ordered."""
        return self.inventory / "group_vars" / "all" / "catalogue.yml"


def _parse_networks(text: str | None) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part.strip()) for part in (text or "").split(",") if part.strip())


def load_settings(**overrides: Any) -> Settings:
    """Read the settings. Overrides that are not None win over them.

    Raises ConfigurationError, which names each wrong setting.
    """
    try:
        return Settings(**{key: value for key, value in overrides.items() if value is not None})
    except ValidationError as error:
        lines = [
            f"HOSTWRIGHT_{str(item['loc'][0]).upper()}"
            f"{''.join(f' ({part})' for part in item['loc'][1:] if part != '[key]')}: {item['msg']}"
            if item["loc"]
            else item["msg"]
            for item in error.errors()
        ]
        raise ConfigurationError("; ".join(lines)) from error
