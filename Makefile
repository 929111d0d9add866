# Every target sets up what it needs; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# requirements.lock pins versions; pyproject.toml says which of them a target needs.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# JupyterLab refuses root unless told otherwise; containers often have no other user.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help demo test chaos fuzz soak mutants check lab lock clean reference

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("genonaut needs Python 3.11 or newer, this is %d.%d; say PYTHON=python3.12, for one" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml requirements.lock | $(BIN)/python
	@echo "Installing the pinned packages into $(VENV) (a minute or two, once)"
	$(PIP) install -c requirements.lock -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) install -c requirements.lock -e '.[dev]'
	@touch $@

$(VENV)/.lab: $(VENV)/.base
	$(PIP) install -c requirements.lock -e '.[lab]'
	@touch $@

demo: $(VENV)/.base  ## load real content, measure, migrate through the notebooks, measure again, report
	@$(BIN)/genonaut demo

test: $(VENV)/.dev  ## all tests, on embedded PostgreSQL and Redis
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

chaos: $(VENV)/.dev  ## a hundred kills over worker, database backend and runner (CHAOS_KILLS)
	CHAOS_KILLS=$${CHAOS_KILLS:-100} CHAOS_SECONDS=$${CHAOS_SECONDS:-60} $(BIN)/python -m pytest tests/acceptance/test_chaos.py tests/integration/test_locks.py tests/migration/test_verification.py tests/integration/test_pressure.py

fuzz: $(VENV)/.dev  ## ten thousand random gallery queries, every strategy against the oracle (FUZZ_QUERIES, FUZZ_SEED)
	FUZZ_QUERIES=$${FUZZ_QUERIES:-10000} FUZZ_SEED=$${FUZZ_SEED:-$$RANDOM} $(BIN)/python -m pytest -n auto tests/gallery/test_conformance.py

soak: $(VENV)/.dev  ## the bitmap index through long stories, every moment and everybody at once (MACHINE_RUNS, MOMENTS, SOAK_OPERATIONS, FUZZ_SEED)
	MACHINE_RUNS=$${MACHINE_RUNS:-2000} MOMENTS=$${MOMENTS:-1000} SOAK_OPERATIONS=$${SOAK_OPERATIONS:-20000} FUZZ_SEED=$${FUZZ_SEED:-$$RANDOM} $(BIN)/python -m pytest -n auto tests/gallery/test_bitmap_machine.py tests/gallery/test_bitmap_moments.py tests/gallery/test_bitmap_soak.py

mutants: $(VENV)/.dev  ## over a hundred faults put into SQL, notebooks and library, one at a time: nine in ten must turn tests red (MUTANT_WORKERS)
	$(BIN)/python -m tests.mutants --workers $${MUTANT_WORKERS:-2}

check: $(VENV)/.dev  ## what CI checks before the tests: lint, types, floors, SQL, notebook hygiene
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.lint
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/python -m pytest -q tests/unit/test_architecture.py tests/unit/test_notebook_hygiene.py tests/unit/test_packaging.py tests/unit/test_containers.py

lab: $(VENV)/.lab  ## JupyterLab on the notebooks, with the embedded servers up
	@$(BIN)/genonaut up --env demo
	GENONAUT_ENVIRONMENT=demo $(BIN)/jupyter lab --notebook-dir=notebooks $(AS_ROOT)

reference: $(VENV)/.dev  ## run the notebooks on the test data set and keep the outputs nbval compares with
	$(BIN)/python -m tests.notebooks.reference

lock: | $(BIN)/python  ## resolve pyproject.toml anew into requirements.lock
	$(PIP) install uv
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --all-extras --no-header --no-annotate pyproject.toml -o requirements.lock

clean:  ## stop the embedded servers; remove their data, the virtual environment and the outputs
	@if [ -x $(BIN)/genonaut ]; then $(BIN)/genonaut down --all; fi
	rm -rf $(VENV) .genonaut build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find outputs -mindepth 1 ! -name README.md -delete 2>/dev/null || true
