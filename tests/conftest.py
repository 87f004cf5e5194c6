"""The fixtures of all tests, grouped by what they give."""

pytest_plugins = [
    "tests.fix_database",
    "tests.fix_lab",
    "tests.fix_lab_proxmox",
    "tests.fix_proxmox",
    "tests.fix_stack",
    "tests.fix_api",
]
