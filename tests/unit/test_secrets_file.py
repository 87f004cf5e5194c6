"""The secrets file: the form of its values, and every spelling of them that is scrubbed from a message."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.app import make_app
from orchestrator.cli.admin import setup
from orchestrator.domain.errors import ConfigurationError
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import SHORTEST_SCRUBBED, Secrets, read_secrets
from orchestrator.settings import Settings, load_settings
from orchestrator.worker.loop import Worker

PLANTED = "pla\"n't\\e/d+ü="


def write(path: Path, **values: str) -> Path:
    file = path / "secrets.json"
    file.touch(0o600)
    file.write_text(json.dumps(values))
    return file


BAD = [
    "planted\n", "\nplanted", " planted", "planted ", "plan\rted", "plan\0ted", "plan\tted", "plan\x7fted",
    "plan\u2028ted", "plan\u202eted", "planted\u00a0", "plan\ud800ted", "\ufeffplanted", " ",
]  # fmt: skip


@pytest.mark.parametrize("value", BAD, ids=ascii)
def test_case_c1_refuses_a_secret_that_no_system_takes(tmp_path: Path, value: str) -> None:
    file = write(tmp_path, good="planted", cloudflare_token=value)
    named = r"the secret 'cloudflare_token' in .*: write its value alone"
    with pytest.raises(ConfigurationError, match=named) as found:
        read_secrets(file)
    assert "plan" not in str(found.value).replace(str(file), "")
    with pytest.raises(PhaseError, match="cloudflare_token"):
        Secrets(file).get("good")


@pytest.mark.parametrize("begin", [Worker, make_app, lambda settings: setup.check()], ids=["worker", "serve", "check"])
def test_case_c1_nothing_starts_with_such_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: Callable[[Settings], object]
) -> None:
    monkeypatch.setenv("HOSTWRIGHT_SECRETS_FILE", str(write(tmp_path, proxmox_token="planted\n")))
    monkeypatch.setenv("HOSTWRIGHT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("HOSTWRIGHT_DATABASE_URL", "postgresql://nowhere.invalid/x")
    with pytest.raises(ConfigurationError, match="the secret 'proxmox_token'"):
        begin(load_settings())


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
    "ascii": ascii,
    "json": json.dumps,
    "json as it is": lambda text: json.dumps(text, ensure_ascii=False),
    "url": lambda text: quote(text, safe=""),
    "url path": quote,
    "form": quote_plus,
    "url in lower case": lambda text: "".join(
        f"%{byte:02x}" if not chr(byte).isalnum() or byte > 127 else chr(byte) for byte in text.encode()
    ),
    "hex": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "urlsafe base64": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_case_c1_scrubs_every_spelling(tmp_path: Path, spelling: str) -> None:
    secrets = Secrets(write(tmp_path, token=PLANTED))
    spelled = SPELLINGS[spelling](PLANTED)
    scrubbed = secrets.scrub(f"Illegal header value {spelled}, they say")
    assert "***" in scrubbed
    assert spelled.strip("'\"b") not in scrubbed


@given(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=2 * SHORTEST_SCRUBBED),
    st.text("user:", max_size=6),
    st.text("abc", max_size=4),
    st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]),
)
def test_case_c1_scrubs_what_base64_hides_in_a_longer_text(
    tmp_path_factory: pytest.TempPathFactory, token: str, before: str, after: str, encode: Callable[[bytes], bytes]
) -> None:
    file = write(tmp_path_factory.mktemp("secrets"), token=token)
    said = encode(f"{before}{token}{after}".encode()).decode()
    assert "***" in Secrets(file).scrub(f"Authorization: Basic {said}")
