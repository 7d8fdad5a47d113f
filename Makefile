# Everything runs in .venv, which is created if it is missing, and updated when the lock files in requirements/ change.
#
#   make PYTHON=python3.12 VENV=.venv-3.12 test   another interpreter, in its own environment
#   make test ARGS='-k ledger'                    arguments for the command that the target runs

PYTHON ?= python3
ARGS ?=
# Test files that run at the same time: more than the two cores of the smallest machine in use, since many tests wait most of the time.
WORKERS ?= 4
# Files start in the order of tests/conftest.py, the longest first.
PYTEST = -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

VENV ?= .venv
BIN := $(VENV)/bin
# The installed dependencies: only those of the demo, or all.
WEATHER := $(VENV)/.installed-weather
DEV := $(VENV)/.installed-dev
# The engines that `make bench` compares with.
PEERS := $(VENV)/.installed-peers
# The planners that `make bench-plans` compares with.
SAGA := $(VENV)/.installed-saga
BENCH_JSON := build/benchmarks.json
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore
# Exactly the locked releases, checked by their hashes; then the project itself, built with the locked build requirements.
INSTALL := $(PIP) --require-hashes -r requirements/build.txt
EDITABLE := $(PIP) --no-build-isolation --no-deps -e .
# Each group of dependencies in pyproject.toml has a lock file of its own. The groups agree: `all` is resolved first and constrains the rest.
LOCKED := core netcdf parquet weather compiled dev peers saga
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test test-pythons test-newest test-oldest test-compose chaos lint bench bench-live bench-plans schemas settings lock

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(DEV) ## Install Headrace with all development dependencies

demo: $(WEATHER) ## Run the ensemble example on a local cluster; ARGS='--grib FILE' for real fields
	@$(BIN)/python examples/ensemble.py $(ARGS)

test: $(DEV) ## Run the tests
	@$(BIN)/python $(PYTEST) $(ARGS)

test-pythons: ## Run the tests on every other Python (3.11 or later) of this machine
	@for python in $$(tests/pythons $(PYTHON)); do \
	    version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])') && echo "Python $$version" \
	    && $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venv-$$version || exit 1; \
	done

# Tests with what pip installs for a user: today's newest releases, or the oldest that the lower bounds allow.
test-newest: ## Run the tests with the newest releases that pyproject.toml allows
	@$(PYTHON) -m venv --clear .venv-newest
	@.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore -e '.[dev]'
	@.venv-newest/bin/python $(PYTEST) $(ARGS)

test-oldest: $(DEV) ## Run the tests with the oldest releases that pyproject.toml allows
	@$(PYTHON) -m venv --clear .venv-oldest
	@$(BIN)/uv pip install --quiet --python .venv-oldest --resolution lowest-direct -e '.[dev]'
	@.venv-oldest/bin/python $(PYTEST) $(ARGS)

test-compose: $(DEV) ## Build, run and test docker-compose.yml with a Docker Engine
	@$(BIN)/python -m pytest -m compose tests/compose $(ARGS)

chaos: $(DEV) ## Run graphs while seeded faults are injected; ARGS='--seeds 1-20 --faults kill-worker,stop-nats --minutes 10'
	@$(BIN)/python -m tests.chaos $(ARGS)

lint: $(DEV) ## Check style, types and the rules between packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict schemas libs services
	@$(BIN)/lint-imports

bench: $(PEERS) ## Time graphs on Headrace and other engines; ARGS='--graph flat,layers --repeat 3' for a part
	@$(BIN)/python -m benchmarks --json $(BENCH_JSON) $(ARGS)
	@echo "all of it: $(BENCH_JSON)"

bench-live: $(PEERS) ## Run published task graphs on Headrace and Dask; ARGS='--instance crossv grid'
	@$(BIN)/python -m benchmarks.live $(ARGS)

bench-plans: $(SAGA) ## Score planners on published task graphs, beside SAGA's, in 15 minutes; ARGS='--all' takes hours
	@$(BIN)/python -m benchmarks.plans.grid $(ARGS)

schemas: $(DEV) ## Write asyncapi.json from the message types
	@$(BIN)/python -m headrace_schemas.asyncapi schemas/headrace_schemas/asyncapi.json

settings: $(DEV) ## Write docs/settings.md from the settings of all services
	@$(BIN)/python -m headrace.cli.settings_table docs/settings.md

lock: $(DEV) ## Update the lock files to the newest releases that pyproject.toml allows, for Python 3.11 and later on every platform
	@mkdir -p build
	@$(BIN)/$(COMPILE) --upgrade --all-extras pyproject.toml -o build/all.txt
	@for group in $(LOCKED); do \
	    extra=$$([ $$group = core ] || echo "--extra $$group"); \
	    $(BIN)/$(COMPILE) --upgrade $$extra pyproject.toml -c build/all.txt -o requirements/$$group.txt || exit 1; \
	done
	@$(BIN)/$(COMPILE) --upgrade requirements/build.in -c build/all.txt -o requirements/build.txt

# The target is pip rather than python: pip appears last, so an environment that was left incomplete is created again.
$(BIN)/pip:
	@$(PYTHON) -m venv --clear $(VENV)

$(WEATHER): pyproject.toml requirements/weather.txt requirements/build.txt | $(BIN)/pip
	@echo "installing into $(VENV)"
	@$(INSTALL) -r requirements/weather.txt
	@$(EDITABLE)
	@touch $@

$(DEV): pyproject.toml requirements/dev.txt requirements/build.txt | $(BIN)/pip
	@echo "installing into $(VENV)"
	@$(INSTALL) -r requirements/dev.txt
	@$(EDITABLE)
	@touch $(WEATHER) $@

$(PEERS): requirements/peers.txt $(DEV) | $(BIN)/pip
	@echo "installing into $(VENV)"
	@$(INSTALL) -r requirements/dev.txt -r requirements/peers.txt
	@touch $@

$(SAGA): requirements/saga.txt $(DEV) | $(BIN)/pip
	@echo "installing into $(VENV)"
	@$(INSTALL) -r requirements/dev.txt -r requirements/saga.txt
	@touch $@
