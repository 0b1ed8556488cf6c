# ketch: the targets that a user and a developer need. `make help` lists them.
PYTHON ?=
BIN := .venv/bin

.PHONY: help setup setup-test demo test lint bench bench-newer install uninstall clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: ## system packages that ketch needs, the virtual environment, the programs
	@PYTHON=$(PYTHON) sh scripts/setup.sh run

setup-test: ## the same, and what the tests need
	@PYTHON=$(PYTHON) sh scripts/setup.sh test

demo: setup ## from nothing to a running container, step by step with timings
	@$(BIN)/python scripts/demo.py

test: setup-test ## the whole test suite, the type checker and the linter (as root)
	@$(BIN)/ruff check src tests scripts bench packaging
	@$(BIN)/mypy
	@$(BIN)/python -m pytest

lint: setup-test ## type checker and linter only
	@$(BIN)/ruff check src tests scripts bench packaging
	@$(BIN)/ruff format --check src tests scripts bench packaging
	@$(BIN)/mypy

bench: ## ketch and Docker side by side
	@PYTHON=$(PYTHON) sh scripts/setup.sh bench
	@$(BIN)/python -m bench

bench-newer: ## the same against the Docker and BuildKit of Debian's unstable suite
	@PYTHON=$(PYTHON) sh scripts/setup.sh bench
	@sh scripts/newer.sh sid docker.io docker-cli containerd docker-buildx
	@$(BIN)/python -m bench --newer $(CURDIR)/.cache/newer/sid

install: setup ## systemd units, /usr/local/bin/ketch and friends
	@sh scripts/install.sh

uninstall: ## take that back; images and volumes stay (PURGE=--purge removes them)
	@sh scripts/uninstall.sh $(PURGE)

clean: ## what the targets above made inside this checkout
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -prune -exec rm -rf {} +
