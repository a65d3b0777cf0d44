# Thin on purpose: Python does the work (include/demo). Everything lives in .venv and .demo; both may be deleted.
SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV_VERSION := 0.13.9
BIN := $(CURDIR)/.venv/bin
INSTALLED := .venv/.installed
TESTS ?= tests
PYTEST_OPTIONS ?= -n 3 --dist loadfile --no-loadscope-reorder
SCALE ?= 1

export PYTHONPATH := $(CURDIR)/include
export PATH := $(BIN):$(PATH)

.PHONY: help
help: ## Lists these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(INSTALLED) ## The nightly run end to end on made-up data: services, data, plan, approval, run, report
	@python -m demo.walkthrough

.PHONY: test
test: $(INSTALLED) packages lint ## Everything that must hold: lint, types, every test
	python -m pytest $(PYTEST_OPTIONS) $(TESTS)

.PHONY: up
up: $(INSTALLED) ## Starts the services and Airflow; prints its address and logins
	@python -m demo.services airflow --scale $(SCALE)

.PHONY: down
down: ## Ends everything that any target started
	@if [ -e $(INSTALLED) ]; then python -m demo.services down; else echo "Nothing is running."; fi

.PHONY: services
services: $(INSTALLED) ## Starts database and object store with data, until `make down`; writes .demo/env
	@python -m demo.services up --scale $(SCALE)

.PHONY: lint
lint: $(INSTALLED) ## Style, import arrows, types
	ruff check .
	ruff format --check .
	lint-imports --no-logo
	mypy

.PHONY: format
format: $(INSTALLED) ## Rewrites the code in the house's style
	ruff check --fix-only .
	ruff format .

.PHONY: bench
bench: $(INSTALLED) ## Measures against the targets; writes benchmarks/latest.json
	python -m benchmarks

.PHONY: docs
docs: $(INSTALLED) ## Writes the generated pages of docs/ anew
	@lethe docs
	@python -m lethe.airflow.dag_docs

.PHONY: airflow-clean
airflow-clean: $(INSTALLED) ## Deletes Airflow's own run records that are over their period
	@python -m demo.clean

.PHONY: lock
lock: $(INSTALLED) ## Compiles requirements*.in to exact versions
	uv pip compile --quiet --python-version 3.11 --output-file requirements.txt requirements.in
	uv pip compile --quiet --python-version 3.11 --output-file requirements-dev.txt --constraint requirements.txt requirements-dev.in

.PHONY: env
env: $(INSTALLED) ## Makes .venv, or brings it up to date

.PHONY: packages
packages: $(INSTALLED) ## Debian's packages that let more tests run, where they can be installed
	@python -m demo.packages

.PHONY: clean
clean: down ## Deletes the demo's data, reports and passwords
	rm -rf .demo

$(INSTALLED): requirements-dev.txt pyproject.toml
	@echo "Environment (.venv) ..."
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@test -x .venv/bin/uv && .venv/bin/uv --version | grep -qF "uv $(UV_VERSION)" || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(CURDIR)/.venv .venv/bin/uv pip install --quiet --compile-bytecode --requirement requirements-dev.txt
	@VIRTUAL_ENV=$(CURDIR)/.venv .venv/bin/uv pip install --quiet --no-deps --editable .
	@touch $@
