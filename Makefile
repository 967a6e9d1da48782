# Each target installs what it needs first; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-run run test vm-test check bench golden clean

PYTHON := .venv/bin/python
RULES ?= rules/sched.lt
ARGS ?=
PYTEST_ARGS ?=
KERNELS ?=

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## make .venv and install what is missing, the tools for tests and checks too
	@tools/setup.sh dev

setup-run:
	@tools/setup.sh run

run: setup-run ## run rules: make run RULES=rules/sched.lt ARGS='--duration 5s'
	@exec .venv/bin/ltrules run $(RULES) $(ARGS)

test: setup ## run all tests; those that attach to the kernel need root
	@exec $(PYTHON) -m pytest $(PYTEST_ARGS)

vm-test: ## run the kernel tests in guests with other kernels; KERNELS='6.1 6.12' chooses
	@tools/setup.sh vm
	@exec $(PYTHON) -m pytest -s -p no:cacheprovider $(PYTEST_ARGS) tests/vm/matrix.py $(if $(KERNELS),--kernels='$(KERNELS)')

check: setup ## lint, format and types
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

bench: setup ## measure cost, start-up and alert rate, beside bpftrace and bcc
	@exec $(PYTHON) -m benchmarks $(ARGS)

golden: setup ## rewrite the golden files, to be read in the diff
	@exec $(PYTHON) -m pytest --update-golden tests/test_golden.py tests/unit/test_testing.py

clean: ## remove .venv and everything else that was made here
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
