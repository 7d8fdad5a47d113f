# Everything runs in .venv, which is made when it is missing and brought up to date when pyproject.toml changes.
#
#   make PYTHON=python3.12 setup      another interpreter
#   make test ARGS='-k ledger'        arguments for what is run

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# What is installed: the demo's needs alone, or everything (which has the former in it).
WEATHER := $(VENV)/.installed-weather
DEV := $(VENV)/.installed-dev
# The engines that `make bench` compares with.
PEERS := $(VENV)/.installed-peers
BENCH_JSON := build/benchmarks.json
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test test-compose lint bench schemas

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(DEV) ## Install Headrace and all it takes to work on it

demo: $(WEATHER) ## Run the ensemble example on a local cluster; ARGS='--grib FILE' for real fields
	@$(BIN)/python examples/ensemble.py $(ARGS)

test: $(DEV) ## Run the tests
	@$(BIN)/python -m pytest $(ARGS)

test-compose: $(DEV) ## Build and run docker-compose.yml with a Docker Engine, and try it
	@$(BIN)/python -m pytest -m compose tests/compose $(ARGS)

lint: $(DEV) ## Check style, types and the rules of the house
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict schemas libs services
	@$(BIN)/lint-imports

bench: $(PEERS) ## Time graphs on Headrace and its peers; ARGS='--graph flat,layers --repeat 3' for less
	@$(BIN)/python -m benchmarks --json $(BENCH_JSON) $(ARGS)
	@echo "all of it: $(BENCH_JSON)"

schemas: $(DEV) ## Write asyncapi.json from the message types
	@$(BIN)/python -m headrace_schemas.asyncapi schemas/headrace_schemas/asyncapi.json

# pip's own file rather than python: it appears last, so an environment that was left half made is made again.
$(BIN)/pip:
	@$(PYTHON) -m venv --clear $(VENV)

$(WEATHER): pyproject.toml | $(BIN)/pip
	@echo "installing into $(VENV)"
	@$(INSTALL) -e '.[weather]'
	@touch $@

$(DEV): pyproject.toml | $(BIN)/pip
	@echo "installing into $(VENV)"
	@$(INSTALL) -e '.[dev]'
	@touch $(WEATHER) $@

$(PEERS): pyproject.toml $(DEV) | $(BIN)/pip
	@echo "installing into $(VENV)"
	@$(INSTALL) -e '.[dev,peers]'
	@touch $@
