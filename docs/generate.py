"""Writes the pages that are generated: today the README of every role, from its argument_specs.

`python -m docs.generate` writes them; with `--check` it names those that are out of date and exits 1.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]

OWNER = "A container that an order made belongs to that order's instance: name it with `-e server_id=…`.\n"


def pages() -> dict[Path, str]:
    """Every generated page with its text."""
    specs = sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))
    return {spec.parents[1] / "README.md": role_readme(spec) for spec in specs}


def role_readme(spec: Path) -> str:
    role = spec.parents[1].name
    main = yaml.safe_load(spec.read_text(encoding="utf-8"))["argument_specs"]["main"]
    rows = [_row(name, option) for name, option in main.get("options", {}).items()]
    parts = [
        f"# {role}\n",
        f"{main['short_description'].rstrip('.')}.\n",
        *(f"{paragraph.strip()}\n" for paragraph in _paragraphs(main.get("description", []))),
        "| variable | type | default | meaning |\n|---|---|---|---|\n" + "".join(rows),
        "By hand, with the lab running and the instance's VMID:\n",
        f"```\nansible-playbook playbooks/phases/{role}.yml -e vmid=5000\n```\n",
        *([OWNER] if f"{role}_server_id" in main.get("options", {}) else []),
        "Generated from `meta/argument_specs.yml` by `make docs`.\n",
    ]
    return "\n".join(parts)


def _paragraphs(description: str | list[str]) -> list[str]:
    return [description] if isinstance(description, str) else description


def _row(name: str, option: dict[str, Any]) -> str:
    kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
    default = "required" if option.get("required") else f"`{_literal(option.get('default'))}`"
    meaning = " ".join(" ".join(_paragraphs(option.get("description", ""))).split())
    if choices := option.get("choices"):
        meaning += " One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    return f"| `{name}` | {kind} | {default} | {meaning.replace('|', chr(92) + '|')} |\n"


def _literal(value: object) -> str:
    """As one writes it in YAML."""
    return '""' if value == "" else yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def main(arguments: list[str]) -> int:
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        print(f"{'out of date' if '--check' in arguments else 'written'}: {path.relative_to(ROOT)}")
        if "--check" not in arguments:
            path.write_text(pages()[path], encoding="utf-8")
    return int("--check" in arguments and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
