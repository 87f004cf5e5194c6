"""`python -m orchestrator.cli` is `hostwright`."""

from orchestrator.cli.main import main

main()
