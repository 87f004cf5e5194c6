# `make` lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Every process that is started would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test near servers lab-setup e2e molecule chaos hosts fuzz lint format bench bench-guests docs clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A stamp per lock file: the environment is made once and again when a lock or pyproject.toml changes.
# Without pip it is half-made, as Debian's Python leaves it when python3-venv is missing, and is made anew.
.PHONY: half-made
$(VENV)/bin/python: $(if $(wildcard $(VENV)/bin/pip),,half-made)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it with PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { echo "python3 -m venv failed: on Debian and Ubuntu install python3-venv" >&2; exit 1; }

$(VENV)/.stamp-%: requirements/%.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing requirements/$*.lock into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/$*.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# An environment of its own: sqlfluff brings chardet, which requests would load in every task of a playbook (12 ms each).
$(VENV)-sql/.stamp: requirements/sql.lock | $(VENV)/bin/python
	@echo "installing requirements/sql.lock into $(VENV)-sql …"
	@$(PYTHON) -m venv $(VENV)-sql
	@$(VENV)-sql/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/sql.lock
	@touch $@

# Another one: the generator of clients wants an older typer than the command line has.
$(VENV)-client/.stamp: requirements/client.lock | $(VENV)/bin/python
	@echo "installing requirements/client.lock into $(VENV)-client …"
	@$(PYTHON) -m venv $(VENV)-client
	@$(VENV)-client/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/client.lock
	@touch $@

# What the tests need: the client of tests/e2e/test_generated_client.py is made anew in each run.
TESTED := $(VENV)/.stamp-dev $(VENV)-client/.stamp

demo: $(VENV)/.stamp-lab ## order a game server and a dev container on the lab (ONCE=1: verify, tear down, exit)
	@$(BIN)/hostwright demo $(if $(ONCE),--once) $(if $(GUESTS),--guests $(GUESTS))

# Three processes on two cores, because tests also wait. Who is through takes tests of the others.
test: $(TESTED) ## all tests (JOBS=3: so many processes)
	@$(BIN)/pytest -n $(or $(JOBS),3) --dist worksteal $(ARGS)

near: $(TESTED) ## the tests that are nearest to what was changed (SINCE=main; N=5: so many files)
	@$(BIN)/python -m tests.support.neighbours $(or $(SINCE),HEAD) $(or $(N),5) $(ARGS)

servers: $(TESTED) ## all tests on Debian's PostgreSQL, and DNS on Debian's name servers
	@$(BIN)/python -m tests.servers $(ARGS)

lab-setup: $(VENV)/.stamp-lab ## what real containers need: Debian's packages, a plain Debian and the template (root)
	@$(BIN)/python -m orchestrator.lab.guests.lxc.setup

e2e: $(TESTED) ## orders from end to end, on processes or, as root after lab-setup, on real containers (GUESTS=lxc)
	@HOSTWRIGHT_TEST_GUESTS=$(or $(GUESTS),process) $(BIN)/pytest -n 2 $(or $(TESTS),tests/e2e $(if $(filter lxc,$(GUESTS)),tests/lxc)) $(ARGS)

molecule: $(VENV)/.stamp-dev ## each role in a container or lab of its own (ROLE="a b"; DRIVER=podman; BROKEN=1: broken on purpose)
	@$(BIN)/python -m tests.molecule $(ROLE) $(if $(DRIVER),--driver $(DRIVER)) $(if $(BROKEN),--broken) $(ARGS)

chaos: $(VENV)/.stamp-dev ## break everything on purpose and see what is kept (ONLY=pattern; GUESTS=lxc; MINUTES=10 SEED=7: at random)
	@HOSTWRIGHT_TEST_GUESTS=$(or $(GUESTS),process) $(BIN)/python -m tests.chaos $(if $(ONLY),--only '$(ONLY)') $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

hosts: $(VENV)/.stamp-dev ## cut the network between workers, database and lab on purpose, as root (ONLY=pattern)
	@$(BIN)/python -m tests.hosts $(if $(ONLY),--only '$(ONLY)') $(ARGS)

fuzz: $(VENV)/.stamp-dev ## search long for histories and requests that break the store or the API
	@HYPOTHESIS_PROFILE=long $(BIN)/pytest -n 2 tests/integration/test_store_model.py tests/integration/test_api_schema.py $(ARGS)

lint: $(VENV)/.stamp-dev $(VENV)-sql/.stamp ## format check, lint, types, SQL, roles
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(VENV)-sql/bin/sqlfluff lint --disable-progress-bar orchestrator/sql
	@$(BIN)/yamllint --strict .
	@$(BIN)/ansible-lint --offline

format: $(VENV)/.stamp-dev ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.stamp-dev ## measure against the bare parts, and with much data; writes bench/results/*.json
	@$(BIN)/python -m bench

bench-guests: $(VENV)/.stamp-dev ## what each phase takes on processes and on real containers (root, after lab-setup)
	@$(BIN)/python -m bench.guests

docs: $(VENV)/.stamp-dev ## generate the role READMEs and the generated parts of the pages in docs/
	@$(BIN)/python -m docs.generate

clean: ## remove the environment and caches
	rm -rf $(VENV) $(VENV)-sql $(VENV)-client build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
