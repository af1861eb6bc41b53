# Every target installs first, where .venv is missing or outdated.

BIN := .venv/bin
INSTALLED := .venv/.installed
CONSTRAINTS := constraints.txt
# A pip of our own choosing: what Debian's Python brings cannot build every package that others need.
PIP_VERSION := 26.1
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
# Newer ones install beside the rest and then fail at run time: docs/adr/0002-locked-versions.md
HELD_BACK := "fastapi==0.139.2" "SQLAlchemy<2.1"

# MLflow's own programs do not know that the repository was moved or copied.
PLACES := $(BIN)/python -c "from unroll.tracking.places import main; main()"

.PHONY: help run serve ui test test-all check bench docs lock
.DEFAULT_GOAL := help

help:
	@echo "make run       train everything that has changed, in parallel, and show the leaderboard"
	@echo "make run ONLY=\"mnist-lstm mnist-gru\"   only what these experiments need"
	@echo "make ui        compare runs in MLflow"
	@echo "make serve     MLflow, Prefect and a worker on this machine, with the schedules of prefect.yaml"
	@echo "make test      the quick tests            make test-all  the slow ones"
	@echo "make check     ruff, mypy, import-linter  make bench     measure speed and memory"
	@echo "make docs      write docs/options.md anew   make lock      update $(CONSTRAINTS) to the newest versions of all packages"

run: $(INSTALLED)
	@$(BIN)/python -m pipelines.run $(if $(ONLY),--only $(ONLY))

# The tests of a file share a process, and with it a Prefect server. Files with slow tests come first.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(INSTALLED)
	@$(PYTEST) -m "not slow"

test-all: $(INSTALLED)
	@$(PYTEST) -m slow

check: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: $(INSTALLED)
	@$(BIN)/python -m benchmarks

docs: $(INSTALLED)
	@$(BIN)/python docs/generate_options.py

ui: $(INSTALLED)
	@store="$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}"; \
	case "$$store" in \
		http*) echo "The runs are on the server that MLFLOW_TRACKING_URI names" ;; \
		*) $(PLACES) && $(BIN)/mlflow ui --host 127.0.0.1 --backend-store-uri "$$store" ;; \
	esac

# The servers share mlflow.db, mlruns/ and the repository with `make run`; their ports can be chosen on the command line.
MLFLOW_PORT ?= 5000
PREFECT_PORT ?= 4200
serve: export PATH := $(CURDIR)/$(BIN):$(PATH)
serve: export MLFLOW_PORT := $(MLFLOW_PORT)
serve: export PREFECT_PORT := $(PREFECT_PORT)
serve: export MLFLOW_TRACKING_URI := http://127.0.0.1:$(MLFLOW_PORT)
serve: export PREFECT_API_URL := http://127.0.0.1:$(PREFECT_PORT)/api
serve: export PREFECT_HOME := $(CURDIR)/.prefect/server
serve: export PREFECT_SERVER_ANALYTICS_ENABLED := false
serve: export MLFLOW_DISABLE_TELEMETRY := true
serve: export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false
serve: export DO_NOT_TRACK := 1
serve: export PYTHONUNBUFFERED := 1
serve: $(INSTALLED)
	@mkdir -p $$PREFECT_HOME
	@echo "MLflow $$MLFLOW_TRACKING_URI   Prefect http://127.0.0.1:$$PREFECT_PORT   Ctrl-C stops all"
	@MLFLOW_TRACKING_URI=sqlite:///mlflow.db $(PLACES)
	@# Without --env, honcho would read .env, which belongs to compose.yaml.
	@$(BIN)/honcho start --env /dev/null

# Programs in .venv begin with its absolute path: in a moved repository they would not start, and in a copied one run the
# code of the original. So the stamp holds the path.
ifneq ($(shell cat $(INSTALLED) 2>/dev/null),$(CURDIR))
.PHONY: $(INSTALLED)
endif

# The stamp comes last: an installation that broke off is tried again. A .venv of another Python or path is made anew.
$(INSTALLED): pyproject.toml $(CONSTRAINTS) Makefile
	@set -e; \
	if [ -s $@ ] && [ "$$(cat $@)" != "$(CURDIR)" ]; then rm -r .venv; fi; \
	supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'; \
	if ! $(BIN)/python -c "$$supported" 2>/dev/null; then \
		for python in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3 none; do \
			if $$python -c "$$supported" 2>/dev/null; then break; fi; \
		done; \
		if [ $$python = none ]; then echo "Unroll needs Python 3.11 to 3.14; none was found" >&2; exit 1; fi; \
		echo "Creating .venv with $$($$python --version)"; \
		$$python -m venv --clear .venv; \
	fi
	@echo "Installing the versions of $(CONSTRAINTS) into .venv; the first time this takes a few minutes"
	@# torch by itself: in one go with the others, pip may look for it elsewhere and take a build with a GPU's libraries.
	@set -e; \
	install() { $(PIP) install "$$@" >.venv/pip.log 2>&1 || { cat .venv/pip.log >&2; exit 1; }; }; \
	install "pip==$(PIP_VERSION)"; \
	install -c $(CONSTRAINTS) "$$(grep '^torch==' $(CONSTRAINTS))"; \
	install -c $(CONSTRAINTS) -e ".[dask,dev,server]"
	@echo "$(CURDIR)" >$@

lock: $(INSTALLED)
	@echo "Installing the newest versions into build/lock; this takes some minutes"
	@$(BIN)/python -m venv --clear build/lock
	@build/lock/bin/python -m pip --disable-pip-version-check install --quiet torch $(HELD_BACK) ".[dask,dev,server]"
	@# The leading comment stays; a local tag such as +cpu would tie the file to one index.
	@{ sed -n '/^#/p' $(CONSTRAINTS); \
	   build/lock/bin/python -m pip freeze --exclude unroll | sed 's/+[a-z0-9.]*$$//'; } > build/constraints.txt
	@mv build/constraints.txt $(CONSTRAINTS)
	@git diff --stat -- $(CONSTRAINTS)
