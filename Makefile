# Everything needs only Python >= 3.11, make and git. `make` alone lists what there is.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && exit; done; echo python3)
BIN := .venv/bin
STAMP := .venv/.set-up
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit lint format temporal bench clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-9s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## Get uv if it is missing, and the environment from uv.lock

$(STAMP): pyproject.toml uv.lock tools/bootstrap.py
	@command -v $(PYTHON) >/dev/null || { echo "BrainOps needs Python 3.11 or newer, and there is no $(PYTHON) on PATH. Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@uv="$$($(PYTHON) tools/bootstrap.py)" || exit 1; \
	"$$uv" sync --frozen --python "$$(command -v $(PYTHON))" || { \
		echo "Trying again with this system's certificates (some networks have their own authority)" >&2; \
		UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1 "$$uv" sync --frozen --python "$$(command -v $(PYTHON))"; }
	@touch $@

demo: setup ## Break a small shop eight ways and watch it heal, in the terminal and in the Temporal UI
	@$(BIN)/brainops demo $(DEMO_ARGS)

test: setup temporal ## All tests, with real Postgres and Temporal; line coverage must be 90 % or more
	@rm -f .coverage .coverage.*
	@$(BIN)/pytest --cov --cov-report=term --cov-fail-under=90 $(PYTEST_ARGS)

unit: setup ## The tests that need no server, in seconds
	@$(BIN)/pytest tests/unit $(PYTEST_ARGS)

lint: setup ## ruff, pyright (strict) and the rooms' import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

format: setup ## Format, and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

temporal: setup ## Find, fetch or build the Temporal server (a build takes minutes, once)
	@$(BIN)/python -m workers.stack.temporal_binary

bench: setup temporal ## Run the benchmarks and hold them against their targets
	@for name in healing durability overhead storm scale signatures footprint; do $(BIN)/python benchmarks/$$name.py --check $(BENCH_ARGS) || exit 1; done

clean: ## Remove what make has made in this folder (not the cache, not the state folder)
	@rm -rf .venv .tools .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov dist
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
