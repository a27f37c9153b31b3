# Sightline. `make` shows what can be made; each target installs what it needs and finds it again the next time.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/gateway.stamp ## Start engine and gateway, ask a bundled picture a question, go on serving
	@SIGHTLINE_LOG_LEVEL=$${SIGHTLINE_LOG_LEVEL:-warning} $(BIN)/sightline up --port $(PORT) --ask

test: check $(VENV)/test.stamp $(VENV)/locust.stamp $(VENV)/checkov.stamp programs node ## Run all tests: real vLLM, Redis and nginx included
	@$(BIN)/sightline engine install --cpu
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: $(VENV)/test.stamp ## Lint, types, and which module may import which
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary server tests clients loadtests deploy
	@out=$$($(BIN)/lint-imports --no-logo) || { echo "$$out"; exit 1; }
	@echo "check: format, lint, types and floors are right"

bench: $(VENV)/test.stamp $(VENV)/load.stamp ## Measure what it costs beside bare programs and other gateways
	@$(BIN)/python loadtests/bench/run.py $(ARGS)

load: $(VENV)/load.stamp $(VENV)/locust.stamp ## Let users as they are ask it all they ask (Locust); ARGS="--web" for its page
	@$(BIN)/python loadtests/load.py $(ARGS)

budget: $(VENV)/load.stamp ## What a request costs on each path, beside what is allowed; ARGS=--record allows what it costs now
	@$(BIN)/python loadtests/budget.py $(ARGS)

soak: $(VENV)/load.stamp $(VENV)/locust.stamp ## An hour of mixed load: does memory stay flat?
	@$(BIN)/python loadtests/soak.py $(ARGS)

lock: ## Pin all dependencies again (needs uv)
	@for name in gateway:s3,encryption,otel test:test load:load; do \
	  $(LOCK) $$([ $${name%%:*} = gateway ] || echo --constraint requirements/gateway.txt) \
	    $$(printf -- '--extra %s ' $$(echo $${name#*:} | tr , ' ')) pyproject.toml -o requirements/$${name%%:*}.txt; done
	@for group in locust checkov build; do $(LOCK) --group pyproject.toml:$$group -o requirements/$$group.txt; done

programs: ## Install the programs that the tests start (Debian: redis-server, nginx, …), if they are missing
	@deploy/programs.sh

node: clients/openai-node/node_modules/.package-lock.json

clients/openai-node/node_modules/.package-lock.json: clients/openai-node/package-lock.json
	@npm ci --prefix clients/openai-node --no-audit --no-fund --silent && touch $@

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV)

$(VENV)/gateway.stamp: requirements/gateway.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the gateway into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e . && touch $@

$(VENV)/test.stamp: requirements/test.txt $(VENV)/gateway.stamp
	@echo "installing what the tests need into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< && touch $@

$(VENV)/load.stamp: requirements/load.txt $(VENV)/gateway.stamp
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< && touch $@

# In environments of their own, beside ours.
$(VENV)/locust.stamp $(VENV)/checkov.stamp: $(VENV)/%.stamp: requirements/%.txt | $(VENV)/bin/python
	@echo "installing $* into $(VENV)/$*"
	@$(PYTHON) -m venv $(VENV)/$*
	@$(VENV)/$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< && touch $@

clean: ## Remove what was installed here (the engine's environment stays: see `sightline engine`)
	@rm -rf $(VENV) clients/openai-node/node_modules .mypy_cache .ruff_cache .pytest_cache

.PHONY: help demo test check bench load budget soak lock programs node clean
.DEFAULT_GOAL := help
