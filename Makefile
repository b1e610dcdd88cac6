# Two commands do everything on a machine with python3 (3.10 to 3.13), its venv module and make:
#   make demo    make test
# The first one to run creates .venv and installs the project there; nothing else is touched.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed
LINK   := .typecheck/ranvier
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## Train a network on real X-rays, export, compile, run, report (under 4 minutes)
	@$(BIN)/python -m ranvier demo $(ARGS)

test: $(READY) ## Run the tests on two processes; ARGS="..." goes to pytest
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-slow: $(READY) ## Run the tests that take minutes each
	@$(BIN)/python -m pytest -m slow --timeout 3600 $(ARGS)

check: $(READY) $(LINK) ## Lint, format, types, layers; changes nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy -p ranvier
	@$(BIN)/mypy -p benchmarks
	@cd tests && ../$(BIN)/mypy --config-file ../pyproject.toml .
	@PYTHONPATH= $(BIN)/lint-imports

bench: $(READY) ## Measure beside other runtimes (under 10 minutes); ARGS="compare model.onnx" for more
	@$(BIN)/python -m benchmarks $(or $(ARGS),run)

clean: ## Remove .venv and every cache
	rm -rf $(VENV) $(LINK) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installs again when pyproject.toml changes. The stamp is written last, so that an interrupted
# installation is taken up again by the next make.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v < (3, 14) or sys.exit( \
	    "ranvier needs Python 3.10 to 3.13, found %d.%d; name another: make PYTHON=python3.12" % v)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "the venv module is missing; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "creating $(VENV) and installing ranvier with its dependencies (once, about 1.1 GB on disk)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 5 -e '.[dev]'
	@touch $@

# Type checkers find the package under its name through this link; nothing else follows it.
$(LINK):
	@mkdir -p .typecheck
	@ln -sfn .. $@
