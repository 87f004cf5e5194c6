"""Two runs in one state directory: the second is refused, and the first goes on as if nothing had been."""

import pytest

from orchestrator.cli.client.api import read_run_file
from orchestrator.cli.run.stack import Stack
from orchestrator.domain.errors import ConfigurationError
from tests.support.fix_stack import Running


def test_refuses_a_second_up_and_leaves_the_first_alone(stack: Running) -> None:
    before = read_run_file(stack.state_dir)
    second = Stack(stack.stack.settings, speed=0, say=lambda line: None)
    with pytest.raises(ConfigurationError, match="another `hostwright up` runs"), second:
        pass
    assert read_run_file(stack.state_dir) == before
