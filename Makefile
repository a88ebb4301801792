# One verb, one meaning. `make help` lists them.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Three at once: much of what a test does is waiting. A file's tests stay together, as they share servers; and files keep
# their order, in which the short ones come last.
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
# checkov pins a hundred libraries of its own.
CHECKOV := .venv-checkov
PROTO_FILES := $(shell find protos -name '*.proto' -o -name examples.yaml)

.DEFAULT_GOAL := help
.PHONY: help setup proto fmt lint types docs permissions monitoring baseline client test contract integration e2e faults bench up demo manifests check lock clean

help: ## List the verbs
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) gen/camino.binpb ## Make the environment: dependencies as locked, generated code

$(STAMP): pyproject.toml requirements.lock
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

gen/camino.binpb: $(STAMP) $(PROTO_FILES) protos/generate.py
	$(BIN)/python protos/generate.py
	@printf '%s\n' "$(CURDIR)/gen" "$(CURDIR)/clients/python" > $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/camino-gen.pth

proto: setup ## Generate code from the protos

fmt: setup ## Format code and protos
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format --quiet .
	$(BIN)/buf format -w protos --path protos/camino

lint: setup ## Check style: ruff, buf
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/buf lint protos

types: setup ## Check types: mypy --strict on the chassis, the pure cores and the client
	$(BIN)/mypy
	$(BIN)/mypy --config-file clients/python/pyproject.toml

docs: setup ## Write the API reference, docs/api, from the protos, and the lists of metrics and settings
	$(BIN)/python -m docs.generate

monitoring: setup ## Write the dashboards, and the alerts in the form of the Prometheus Operator
	$(BIN)/python -m deploy.monitoring.generate

baseline: setup ## Fix the contract as a release's: what later ones may add to and not break
	$(BIN)/python protos/baseline.py

permissions: setup ## Write what each service may do at the broker and the store, from what it declares
	$(BIN)/python -m deploy.permissions

client: setup ## Build the Python client's wheel into dist/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist clients/python

test: setup ## Run all tests
	$(PYTEST)

contract: setup ## Run the contract tests
	$(PYTEST) tests/contract

integration: setup ## Run the tests against real servers
	$(PYTEST) tests/integration

e2e: setup ## Run the tests of the whole stack
	$(PYTEST) tests/e2e

faults: setup ## Run the tests that kill processes
	$(PYTEST) tests/faults

bench: setup ## Measure: medians of several runs, beside the floor of their parts
	$(BIN)/python -m bench

up: setup ## Run the whole stack on this machine until Ctrl-C
	$(BIN)/camino up

demo: setup ## Play the main job on a real cohort
	@$(BIN)/python -m examples.demo

manifests: setup $(CHECKOV)/.installed ## Check what is deployed: the image's steps, our rules, Kubernetes' schemas, checkov
	CAMINO_REHEARSE_IMAGE=1 $(BIN)/python -m pytest tests/deploy
	mkdir -p build/manifests
	for overlay in deploy/k8s/overlays/*; do \
	  $(BIN)/kubectl kustomize $$overlay > build/manifests/$$(basename $$overlay).yaml || exit 1; \
	done
	$(CHECKOV)/bin/checkov --config-file deploy/checkov.yaml

$(CHECKOV)/.installed: deploy/checkov.lock
	test -d $(CHECKOV) || $(PYTHON) -m venv $(CHECKOV)
	$(CHECKOV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/checkov.lock
	@touch $@

check: lint types test ## What CI runs

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

lock: ## Renew the locks from pyproject.toml (needs uv): what is developed with, what runs, what checks
	$(LOCK) --extra dev pyproject.toml -o requirements.lock
	$(LOCK) -c requirements.lock pyproject.toml -o deploy/requirements.lock
	printf 'grpcio-tools\nmypy-protobuf\n' | $(LOCK) -c requirements.lock - -o deploy/generate.lock
	echo checkov | $(LOCK) - -o deploy/checkov.lock

clean: ## Remove everything that was made
	rm -rf $(VENV) $(CHECKOV) gen build dist clients/python/build *.egg-info clients/python/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
