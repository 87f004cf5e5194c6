"""The base of our action plugins: checked arguments, secrets by name, failures with a code, no leaks."""

from __future__ import annotations

import signal
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from orchestrator.domain.errors import Code
from orchestrator.drivers import lease
from orchestrator.drivers.remote import HostError, unreachable
from orchestrator.drivers.result import PhaseError
from orchestrator.drivers.secrets import Secrets
from orchestrator.processes import die_with_parent

SECRETS_VARIABLE = "hostwright_secrets_file"
PUBLICATIONS = frozenset({"publishing", "withdrawn", "gone"})
"""Members of a result that hold publications. They are planned without a secret, and what is recorded and struck out
must be the very names, also when one of them contains the value of some secret."""


class PhaseAction(ActionBase):  # type: ignore[misc]  # ansible has no types
    ARGUMENTS: ClassVar[Mapping[str, Any]]

    @abstractmethod
    def perform(self, args: dict[str, Any], secrets: Secrets, *, check: bool) -> dict[str, Any]:
        """Do it and return the result, or raise PhaseError. With `check`, only say what would be done."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        # This is a process with a session of its own, which no signal to the playbook reaches: alone it would go on
        # waiting, and then change a container that is somebody else's by that time.
        die_with_parent(signal.SIGKILL)()
        lease.hold()
        secrets = Secrets(self._secrets_file(self._task_vars))
        try:
            args = self._checked_arguments()
            result = {"changed": False, **self.perform(args, secrets, check=bool(self._task.check_mode))}
        except PhaseError as error:
            result = error.as_result()
        except Exception as error:  # noqa: BLE001 - Ansible would print it unscrubbed
            message = f"{self._task.action}: {type(error).__name__}: {error}"
            result = PhaseError(Code.INTERNAL, message).as_result()
        result = secrets.scrub(result) | {name: result[name] for name in PUBLICATIONS & set(result)}
        self._tell(result)
        return result

    def run_module(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The result of a module on the host that the task is delegated to, failed or not. Raises HostError."""
        try:
            result = self._execute_module(module_name=name, module_args=arguments, task_vars=self._task_vars)
        except AnsibleAuthenticationFailure as error:
            raise HostError(str(error), passing=False) from None
        except AnsibleConnectionFailure as error:
            raise unreachable(str(error)) from None
        except AnsibleError as error:
            # A wrong password of sudo, a variable of the host that is undefined.
            raise HostError(" ".join(str(error).split()), passing=False) from None
        return dict(plain(result))

    def _tell(self, result: dict[str, Any]) -> None:
        """Says in a person's terminal what was reached or is waited for; Ansible itself prints only `ok`."""
        reached = result.get("progress") if result.get("done", True) and not result.get("failed") else None
        if said := result.get("notice") or reached:
            self._display.display(f"  {said}")

    def _secrets_file(self, task_vars: dict[str, Any]) -> str | None:
        # task_vars holds the inventory's expression; only task arguments arrive templated.
        value = self._templar.template(task_vars.get(SECRETS_VARIABLE))
        return str(value) if value else None

    def _checked_arguments(self) -> dict[str, Any]:
        given: dict[str, Any] = plain(dict(self._task.args))
        validation = ArgumentSpecValidator(dict(self.ARGUMENTS)).validate(given)
        if validation.error_messages:
            raise PhaseError(Code.INTERNAL, f"{self._task.action}: {'; '.join(validation.error_messages)}")
        return dict(validation.validated_parameters)


def plain(value: Any) -> Any:
    """Ansible's tagged and lazy values as plain ones, which every library takes as they are."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
