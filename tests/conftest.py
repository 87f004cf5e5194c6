"""The fixtures of all tests, grouped by what they give, and how long generated tests search (HYPOTHESIS_PROFILE)."""

import gc
import os

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.support.fix_database",
    "tests.support.fix_lab",
    "tests.support.fix_lab_proxmox",
    "tests.support.fix_lab_proxy",
    "tests.support.fix_proxmox",
    "tests.support.fix_stack",
    "tests.support.fix_api",
]

# A step that waits for a database says nothing about the code under test, so no time is measured.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.register_profile("ci", _UNTIMED, derandomize=True, max_examples=100)
settings.register_profile("long", _UNTIMED, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_finish() -> None:
    """Take what all tests have in common out of every later garbage collection, which some of them ask for."""
    gc.collect()
    gc.freeze()
