# `make run` and `make test` are all that a newcomer needs; both make .venv first where it is missing or outdated.

BIN := .venv/bin
INSTALLED := .venv/.installed
CONSTRAINTS := constraints.txt
# A pip of our own choosing: what Debian's Python brings cannot build every package that others need.
PIP_VERSION := 26.1
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
# Newer ones install beside the rest and then fail at run time: docs/adr/0002-locked-versions.md
HELD_BACK := "fastapi==0.139.2" "SQLAlchemy<2.1"

.PHONY: help run test test-fast check bench ui stack stack-stop lock
.DEFAULT_GOAL := help

help:
	@echo "make run        train everything that has changed, in parallel, and show the leaderboard"
	@echo "make test       all tests            make test-fast  without the slow ones"
	@echo "make check      ruff and mypy        make bench      speed and memory, as tables"
	@echo "make ui         compare runs in MLflow"
	@echo "make stack      PostgreSQL, an S3 store, MLflow, Prefect and a worker on this machine;  make stack-stop"
	@echo "make lock       take the newest versions of all packages into $(CONSTRAINTS)"

run: $(INSTALLED)
	@$(BIN)/python -m pipelines.training

# A file's tests share a process, so that one Prefect server serves them all; in the files' order, in which the slow ones
# come first and do not stand alone at the end.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(INSTALLED)
	@$(PYTEST)

test-fast: $(INSTALLED)
	@$(PYTEST) -m "not slow"

check: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(INSTALLED)
	@$(BIN)/python -m benchmarks

ui: $(INSTALLED)
	@store="$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}"; \
	case "$$store" in \
		http*) echo "The runs are on the server that MLFLOW_TRACKING_URI names" ;; \
		*) $(BIN)/mlflow ui --host 127.0.0.1 --backend-store-uri "$$store" ;; \
	esac

# STACK holds options: make stack STACK='--mlflow-port 5001'. All of them: .venv/bin/python -m stack start --help
stack: $(INSTALLED)
	@$(BIN)/python -m stack start $(STACK)

stack-stop: $(INSTALLED)
	@$(BIN)/python -m stack stop $(STACK)

# The stamp comes last: an installation that broke off is tried again. A .venv of another Python is made anew.
$(INSTALLED): pyproject.toml $(CONSTRAINTS) Makefile
	@set -e; \
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
	install -c $(CONSTRAINTS) -e ".[dev,stack]"
	@touch $@

lock: $(INSTALLED)
	@echo "Installing the newest versions into build/lock; this takes some minutes"
	@$(BIN)/python -m venv --clear build/lock
	@build/lock/bin/python -m pip --disable-pip-version-check install --quiet torch $(HELD_BACK) ".[dev,stack]"
	@# The leading comment stays; a local tag such as +cpu would tie the file to one index.
	@{ sed -n '/^#/p' $(CONSTRAINTS); \
	   build/lock/bin/python -m pip freeze --exclude unroll | sed 's/+[a-z0-9.]*$$//'; } > build/constraints.txt
	@mv build/constraints.txt $(CONSTRAINTS)
	@git diff --stat -- $(CONSTRAINTS)
