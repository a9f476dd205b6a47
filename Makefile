# Everything a person types here. `make` alone lists it. A machine needs Python 3.11 and make, nothing else.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

# The first Python 3.11 that really runs: a version manager's stand-in may be there without its version.
PYTHON ?= $(shell for python in python3.11 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && command -v $$python && break; done)
# The uv of this machine, else one of our own. It never fetches a Python by itself.
UV ?= $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .cache/uv/bin/uv)
export UV_PYTHON_DOWNLOADS := never
export INTERESTFLOW_TRITON_PYTHON ?= $(CURDIR)/.venv-triton/bin/python

WORKER  := .venv/bin/python
DEV     := .venv-dev/bin/python
TRAINER := .venv-trainer/bin/python
JSON_FLAG = $(if $(JSON),--json $(JSON))

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -- use ---------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: .venv/.made .venv-triton/.made ## Real shopping behaviour, live; options: DEMO="--seconds 60 --users 300", DEMO=--help
	@$(WORKER) -m stream.cli demo $(DEMO)

.PHONY: env
env: .venv/.made .venv-triton/.made ## Make the two environments of the demo

.PHONY: model
model: .venv-trainer/.made .venv-triton/.made ## Train the model and write it into triton_models/ (large download); options: MODEL="…"
	$(TRAINER) -m trainer.cli make --out triton_models $(MODEL)

# -- check -------------------------------------------------------------------------------------------------------

.PHONY: evaluate
evaluate: .venv-trainer/.made ## Score the shipped model and its baselines, pooled over the test cutoffs; options: JSON=f EVALUATE="--live"
	$(TRAINER) -m trainer.cli samples
	$(TRAINER) -m trainer.cli evaluate --repository triton_models $(if $(JSON),--json $(JSON)) $(EVALUATE)

.PHONY: test
test: .venv-dev/.made .venv-triton/.made ## All tests but the trainer's; options: TESTS="tests/unit -k window"
	$(DEV) -m pytest -m "not trainer" $(TESTS)

.PHONY: test-trainer
test-trainer: .venv-trainer/.made .venv-triton/.made ## The tests that need torch
	$(TRAINER) -m pytest -m trainer $(TESTS)

.PHONY: lint
lint: .venv-dev/.made ## Style, types and layers
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	$(DEV) -m mypy --strict --exclude /test_trainer_ stream benchmarks deploy tests
	@if [ -e .venv-trainer/.made ]; then $(MAKE) --no-print-directory lint-trainer; \
	else echo "trainer/: types not checked, they need torch: make lint-trainer"; fi
	.venv-dev/bin/lint-imports

.PHONY: lint-trainer
lint-trainer: .venv-dev/.made .venv-trainer/.made ## The trainer's types (needs torch)
	$(DEV) -m mypy --strict --python-executable $(TRAINER) trainer $(wildcard tests/unit/test_trainer_*.py tests/integration/test_trainer_*.py)

# -- measure -----------------------------------------------------------------------------------------------------

.PHONY: bench
bench: bench-stream bench-model ## Both benchmarks

.PHONY: bench-stream
bench-stream: .venv-dev/.made .venv-triton/.made ## Speed of the stream against others; JSON=FILE keeps the figures
	$(DEV) -m benchmarks.stream $(JSON_FLAG) $(BENCH)

.PHONY: bench-model
bench-model: .venv-dev/.made .venv-triton/.made ## Speed of the model against plain BERT; JSON=FILE keeps the figures
	$(DEV) -m benchmarks.model $(JSON_FLAG) $(BENCH)

.PHONY: chaos
chaos: .venv-dev/.made .venv-triton/.made ## The promises under faults on Apache Kafka (Java 17); CHAOS="--gates G1,G5 --seed 7 --short", JSON=FILE
	$(DEV) -m benchmarks.chaos $(JSON_FLAG) $(CHAOS)

.PHONY: chaos-stock
chaos-stock: .venv-dev/.made ## Stock Faust beside our worker under the same graceful restarts; CHAOS="--runs 5", JSON=FILE
	$(DEV) -m benchmarks.chaos.stock $(JSON_FLAG) $(CHAOS)

# -- environments ------------------------------------------------------------------------------------------------
# Each from a lock with hashes; the stamp is written last, so that a broken-off one is made again from nothing.

# $(1): directory, $(2): what it is, $(3): locks, $(4): whether this project goes into it.
define make_environment
	@test -n "$(PYTHON)" || { echo "no Python 3.11 was found: install it, or name it: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@echo "making $(1) ($(2)) …"
	@rm -rf $(1)
	@$(UV) venv --quiet --python "$(PYTHON)" $(1)
	@$(UV) pip install --python $(1)/bin/python --require-hashes $(addprefix -r ,$(3))
	$(if $(4),@$(UV) pip install --quiet --python $(1)/bin/python --no-deps --no-build-isolation --editable .)
	@touch $@
endef

.venv/.made: locks/embedded.txt locks/build.txt pyproject.toml | $(UV)
	$(call make_environment,.venv,worker and embedded broker,locks/embedded.txt locks/build.txt,project)

.venv-triton/.made: locks/triton.txt | $(UV)
	$(call make_environment,.venv-triton,bundled Triton,locks/triton.txt)

.venv-dev/.made: locks/dev.txt locks/build.txt pyproject.toml | $(UV)
	$(call make_environment,.venv-dev,worker and tests,locks/dev.txt locks/build.txt,project)

.venv-trainer/.made: locks/trainer.txt locks/dev.txt locks/build.txt pyproject.toml | $(UV)
	$(call make_environment,.venv-trainer,trainer with torch: several GB,locks/trainer.txt locks/dev.txt locks/build.txt,project)

.cache/uv/bin/uv: locks/uv.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 was found: install it, or name it: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@echo "fetching uv, which makes the environments …"
	@rm -rf .cache/uv
	@{ "$(PYTHON)" -m venv .cache/uv >/dev/null 2>&1 && \
		.cache/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/uv.txt; } || \
	{ rm -rf .cache/uv; \
		"$(PYTHON)" -m pip install --quiet --disable-pip-version-check --require-hashes --target .cache/uv -r locks/uv.txt; } || \
	{ echo "uv could not be fetched: $(PYTHON) needs its venv or pip module (Debian, Ubuntu: apt install python3-venv) and a package index within reach"; exit 1; }
	@touch $@

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $(UPGRADE)

.PHONY: locks
locks: | $(UV) ## Lock the dependencies again after pyproject.toml changed; UPGRADE=--upgrade takes newer versions
	$(COMPILE) pyproject.toml -o locks/stream.txt
	$(COMPILE) pyproject.toml --extra embedded -c locks/stream.txt -o locks/embedded.txt
	$(COMPILE) pyproject.toml --extra embedded --extra dev -c locks/embedded.txt -o locks/dev.txt
	$(COMPILE) pyproject.toml --extra trainer -c locks/dev.txt -o locks/trainer.txt
	$(COMPILE) locks/triton.in -o locks/triton.txt
	$(COMPILE) locks/build.in -c locks/trainer.txt -o locks/build.txt
	$(COMPILE) locks/uv.in -o locks/uv.txt

.PHONY: clean
clean: ## Remove environments, caches and logs; triton_models/ stays
	rm -rf .venv .venv-triton .venv-dev .venv-trainer .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache .coverage build dist data
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
