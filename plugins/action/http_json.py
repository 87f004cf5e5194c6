"""JSON over HTTP in-process: one request, the statuses it expects, a secret by name."""

from __future__ import annotations

from typing import Any, ClassVar

from hostwright_ansible.action import PhaseAction

from orchestrator.domain.errors import Code
from orchestrator.drivers.httpjson import READING, HttpError, HttpJson
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets


class ActionModule(PhaseAction):
    ARGUMENTS: ClassVar[dict[str, Any]] = {
        "url": {"type": "str", "required": True},
        "method": {"type": "str", "default": "GET", "choices": [*sorted(READING), "POST", "PUT", "PATCH", "DELETE"]},
        "body": {"type": "raw"},
        "secret": {"type": "str", "no_log": False},
        "expect": {"type": "list", "elements": "int", "default": [200]},
        "unchanged": {"type": "list", "elements": "int", "default": []},
        "ca_file": {"type": "path"},
        "timeout": {"type": "float", "default": 10.0},
        "error_code": {"type": "str", "default": Code.INTERNAL.value, "choices": [code.value for code in Code]},
    }

    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        method, url, code = args["method"], args["url"], Code(args["error_code"])
        reads = method in READING
        if check and not reads:
            return {"changed": True, "skipped": True, "progress": f"would {method} {url}"}
        bearer = secrets.get(args["secret"]) if args["secret"] else None
        http = HttpJson(ca_file=args["ca_file"], bearer=bearer, timeout=args["timeout"])
        try:
            # POST and PATCH may have worked although the answer was lost, so they are not repeated.
            reply = http.call(method, url, body=args["body"], patient=method not in ("POST", "PATCH"))
        except HttpError as error:
            raise PhaseError(code, f"{method} {url}: {error}; is it reachable?", url=url) from None
        if reply.status not in args["expect"]:
            raise PhaseError(
                code,
                f"{method} {url} answers {reply.status} instead of {args['expect']}: {reply.words()}",
                url=url,
                status=reply.status,
            )
        return {
            "changed": not reads and reply.status not in args["unchanged"],
            "status": reply.status,
            "body": reply.body,
        }
