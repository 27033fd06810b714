# `make` lists the targets. Needs Linux or macOS, Python >= 3.11, make and a package index; everything else comes from requirements.lock.

PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
STAMP := .venv/.complete

# Settings of this machine, if any (see .env.example).
ifneq (,$(wildcard .env))
include .env
export $(shell sed -n 's/^\([A-Z][A-Z0-9_]*\)=.*/\1/p' .env)
endif

# dagster.yaml is here; what Dagster stores goes to the data folder (hedgefund_dagster/instance.py).
export DAGSTER_HOME := $(CURDIR)

# Nothing phones home.
export DAGSTER_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
export GX_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1
# One thread for each process: sums keep their order, so the same lock gives the same bytes, and parallel tests do not fight for cores.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env demo dev materialize data-doctor quarantine release unrelease compact backup restore test test-all check lint format lock bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP) ## build the locked environment in .venv (once; again when the lock changes)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed, $(PYTHON) is older: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 3; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	    echo "Python's venv module is missing: install it (Debian: python3-venv), then run make again" >&2; exit 3; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/python -m uv pip install --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	$(BIN)/python -m uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: env ## run the whole product on real prices, offline, no key; your own: SOURCE=files DIR=...
	$(BIN)/python -m hedgefund_dagster.demo $(if $(SOURCE),--source $(SOURCE)) $(if $(DIR),--dir "$(DIR)")

dev: env ## Dagster UI on :3000 with its daemon, Data Docs on :3001, MLflow on :5000; Ctrl-C stops all
	$(BIN)/python -m hedgefund_dagster.dev

materialize: env ## assets without the UI: SELECT=served/bars PARTITION=2026-11-20, or FROM= TO=; SELECT=files for a source's whole chain
	@$(BIN)/python -m hedgefund_dagster.materialize "$(SELECT)" $(if $(PARTITION),--partition $(PARTITION)) $(if $(FROM),--from $(FROM)) \
	    $(if $(TO),--to $(TO)) $(if $(NAMES),--names "$(NAMES)") $(if $(AGAIN),--again) $(if $(JSON),--json)

data-doctor: env ## per data vendor: key, quota left, last success, lag, breaker; PROBE=1 asks whether it answers, JSON=1 for programs
	@$(BIN)/python -m hedgefund_dagster.data_doctor $(if $(PROBE),--probe) $(if $(JSON),--json)

quarantine: env ## rows held back and why; SYMBOL=, RULE=, SOURCE=, TABLE=fundamentals, ALL=1 (notes and released rows too), JSON=1
	@$(BIN)/python -m hedgefund_dagster.quarantine list $(if $(SYMBOL),--symbol "$(SYMBOL)") $(if $(RULE),--rule "$(RULE)") \
	    $(if $(SOURCE),--source "$(SOURCE)") $(if $(TABLE),--table "$(TABLE)") $(if $(ALL),--all) $(if $(JSON),--json)

release: env ## let held rows back in: SYMBOL=AAA TS=2024-01-31 RULE=all REASON="why the row is right" [PERSON=... SOURCE=... JSON=1]
	@$(BIN)/python -m hedgefund_dagster.quarantine release "$(SYMBOL)" "$(TS)" "$(or $(RULE),all)" --reason "$(REASON)" \
	    $(if $(PERSON),--person "$(PERSON)") $(if $(SOURCE),--source "$(SOURCE)") $(if $(TABLE),--table "$(TABLE)") $(if $(JSON),--json)

unrelease: env ## hold released rows back again, with the same words
	@$(BIN)/python -m hedgefund_dagster.quarantine unrelease "$(SYMBOL)" "$(TS)" "$(or $(RULE),all)" --reason "$(REASON)" \
	    $(if $(PERSON),--person "$(PERSON)") $(if $(SOURCE),--source "$(SOURCE)") $(if $(TABLE),--table "$(TABLE)") $(if $(JSON),--json)

compact: env ## merge the lake's many small files; every version and the history of writes stay
	@$(BIN)/python -m hedgefund_dagster.compact

backup: env ## one file with the account's journal, bundles and books: ACCOUNT=, TO=
	@$(BIN)/executor backup $(if $(ACCOUNT),--account "$(ACCOUNT)") $(if $(TO),--to "$(TO)")

restore: env ## check a backup and put it in place, what was there moved aside: FILE=data/backups/... [ACCOUNT=]
	@$(BIN)/executor restore "$(FILE)" $(if $(ACCOUNT),--account "$(ACCOUNT)")

test: check ## lint, types, import contracts, definitions, and the default test suite
	$(BIN)/python -m pytest -n 3

test-all: check ## the same with the slow and the browser tests (a long test is no hanging one: its own limit ends it)
	$(BIN)/python -m pytest -n 3 -m "slow or browser or not slow" -o faulthandler_timeout=0

check: env lint ## everything of `make test` but the tests
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry .
	$(BIN)/dagster definitions validate --workspace workspace.yaml

lint: env ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: env ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: env ## resolve pyproject.toml into requirements.lock again (UPGRADE="--upgrade" for newer versions)
	$(BIN)/python -m uv pip compile pyproject.toml --universal --generate-hashes --all-extras --no-emit-index-url --no-emit-find-links \
	    --python-version 3.11 --custom-compile-command "make lock" $(UPGRADE) --quiet --output-file requirements.lock

bench: env ## ours beside its peers, measured in the same run: data/reports/bench.json; ONLY=lake for one area, STRICT=1 to fail on a missed goal
	$(BIN)/python -m tests.benchmark $(ONLY) $(if $(STRICT),--strict)

clean: ## remove caches and build output; data/, mlruns/ and .venv/ stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
