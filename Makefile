# The tasks of developers and of the checks; `make` lists them. The only requirement is Python 3.11 or newer.
#   PYTHON=python3.12   the interpreter of the environment
#   VENV=.venv          the directory of the environment
#   ARGS="..."          arguments for the command of the target
#   KAFKA_VERSION=3.9.1 the Apache Kafka that `make kafka` and the tests start
#   BROKERS=3           the number of brokers of `make kafka` and `make prove`
#   PROFILE=distributed the profile of `make bench` and `make replay`
#   COVERAGE=yes        `make test` also prints the branches that no test reaches
#   EXAMPLES_SHARE=1    the share of the random examples that `make test` tries; `make prove-long` tries all
#   WORKERS=1           how many processes run the tests; by default one for each processor, four at most
#   ALL=1               `make quick` runs all its tests
#   TIMES=yes           `make test` and `make quick` also print the processor time of each directory
#   SEED=7              the seed of `make prove`; another each time by default

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
FILE ?=
PROFILE ?= embedded
KAFKA_VERSION ?= 4.3.0
BROKERS ?= 1
SEED ?=
COVERAGE ?=
ALL ?=
TIMES ?=
EXAMPLES_SHARE ?= 0.3
WORKERS ?= logical --maxprocesses 4
BIN := $(VENV)/bin
# Compiled modules are kept in the environment, outside of the tree: each worker and each process of a test needs them.
TESTED := PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(abspath $(VENV))/bytecode $(BIN)/python
# A file stays with one worker, since its tests share what is made once for them.
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(if $(TIMES),-p tests.directory_times)
PYTEST := $(TESTED) -m pytest $(PARALLEL)
QUICK := --quiet -m "not servers and not slow and not long"
COVERED := -p tests.branches

# An environment is current if it has the stamp of these files. `dev.txt` includes `run.txt` with the same versions, so
# `make test` only adds to the environment of a running `make up`.
RUN_STAMP := $(VENV)/.run-$(shell cat requirements/run.txt pyproject.toml | cksum | cut -d' ' -f1)
DEV_STAMP := $(VENV)/.dev-$(shell cat requirements/dev.txt pyproject.toml | cksum | cut -d' ' -f1)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" PIP_FIND_LINKS= $(BIN)/pip-compile --quiet --strip-extras --allow-unsafe \
	--generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --build-deps-for editable

.DEFAULT_GOAL := help
.PHONY: help install up demo kafka postgres test quick coverage check style format bench replay prove prove-embedded prove-long fuzz mutate schemas pictures lock audit wheel clean

help: ## list the targets
	@echo "FirstHour: make TARGET [PYTHON=python3.12] [ARGS=\"...\"]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

up: $(RUN_STAMP) ## install the dependencies, then run all services in one process
	@$(BIN)/firsthour up $(ARGS)

demo: $(RUN_STAMP) ## the same with invented visitors and reps and a clock 60 times faster
	@$(BIN)/firsthour up --demo $(ARGS)

install: $(RUN_STAMP) ## install the dependencies only
	@echo "Ready: call it as $(BIN)/firsthour, or run \`. $(BIN)/activate\` and call it as firsthour."

kafka: | $(BIN)/python ## run a real Kafka on this machine until Ctrl-C (BROKERS=3, KAFKA_VERSION=3.9.1)
	@exec $(BIN)/python -m devtools.kafka --version $(KAFKA_VERSION) --brokers $(BROKERS) $(ARGS)

postgres: | $(BIN)/python ## run a real PostgreSQL on this machine until Ctrl-C
	@exec $(BIN)/python -m devtools.postgres $(ARGS)

test: $(DEV_STAMP) ## run all tests, with a Kafka and a PostgreSQL that it starts and stops
	@KAFKA_VERSION=$(KAFKA_VERSION) EXAMPLES_SHARE=$(EXAMPLES_SHARE) $(PYTEST) $(if $(COVERAGE),$(COVERED)) $(ARGS)

quick: style ## the inner loop: `make check`, and the unit tests and embedded stories that your changes can affect (ALL=1: all)
	@EXAMPLES_SHARE=0.1 $(TESTED) -m tests.proof.affected $(if $(ALL),--all) $(if $(ARGS),--partial) -- $(PARALLEL) $(QUICK) $(ARGS)

coverage: $(DEV_STAMP) ## print the branches of services/ and firsthour/ that the unit tests and embedded stories do not reach
	@EXAMPLES_SHARE=0.1 $(PYTEST) $(QUICK) tests/unit tests/story $(COVERED) $(ARGS)

check: style ## style, types, directions of imports, lock files
	@$(TESTED) -m pytest --quiet --no-header tests/unit/test_locks.py

style: $(DEV_STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --num-workers auto
	$(BIN)/lint-imports --no-logo

format: $(DEV_STAMP) ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(RUN_STAMP) ## measure this machine against the goals, in six minutes (PROFILE=distributed: over Kafka and PostgreSQL)
	@$(if $(filter distributed,$(PROFILE)),$(BIN)/python -m tests.bench.distributed --kafka-version $(KAFKA_VERSION) \
		--brokers $(BROKERS),$(BIN)/firsthour bench) $(ARGS)

replay: $(RUN_STAMP) ## post FILE=some.csv as form events to a temporary installation (PROFILE=distributed), or ARGS="--url ... --key ..."
	@test -n "$(FILE)" || { echo "Name the stream: make replay FILE=leads.csv" >&2; exit 2; }
	@$(BIN)/python -m $(if $(filter distributed,$(PROFILE)),tests.e2e.replay "$(FILE)" --kafka-version $(KAFKA_VERSION) \
		--brokers $(BROKERS),firsthour.operations.replay.command "$(FILE)") $(ARGS)

prove: $(DEV_STAMP) ## kill processes, broker and database of a distributed installation, and judge from outside (SEED=7 BROKERS=3 ARGS=--flood)
	@$(BIN)/python -m tests.e2e.prove --brokers $(BROKERS) --kafka $(KAFKA_VERSION) $(if $(SEED),--seed $(SEED)) $(ARGS)

prove-embedded: $(DEV_STAMP) ## kill a whole replay on the embedded profile ten times, and judge from outside (ARGS="--seed N")
	@$(BIN)/python -m tests.e2e.kill $(ARGS)

prove-long: $(DEV_STAMP) ## the longer tests: all on Kafka 3.9.1, the real stream and requests generated from /openapi.json on both profiles, long random histories
	@KAFKA_VERSION=3.9.1 EXAMPLES_SHARE=1 $(PYTEST) $(ARGS)
	@EXAMPLES_SHARE=1 $(PYTEST) -m long -o faulthandler_timeout=3600
	@HISTORIES=300 $(TESTED) -m pytest tests/contract/test_any_order.py --timeout 3600 -o faulthandler_timeout=7200
	@$(BIN)/python -m tests.proof.fuzz

fuzz: $(DEV_STAMP) ## send generated inputs to each parser of what strangers send, guided by coverage, for ten minutes each (ARGS="--seconds 60")
	@$(BIN)/python -m tests.proof.fuzz $(ARGS)

mutate: $(DEV_STAMP) ## remove each mechanism in a copy, and report the test that notices
	@$(BIN)/python -m tests.proof.mechanisms $(ARGS)

schemas: $(RUN_STAMP) ## generate schemas/json, schemas/asyncapi.yaml, the README's table of settings and the texts of the console
	@$(BIN)/python -m firsthour.operations.schema_export
	@$(BIN)/python -m firsthour.operations.documents
	@$(BIN)/python -m firsthour.operations.console_texts

pictures: $(DEV_STAMP) ## draw the pictures of docs/ again: a page in Slack, a mail, the pages of the console (needs Chromium)
	@$(BIN)/python -m tests.pictures docs $(ARGS)
	@$(BIN)/python -m tests.console_pictures docs $(ARGS)

lock: $(DEV_STAMP) ## resolve requirements/*.txt again (ARGS=--upgrade for newer versions)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Locks are made with the oldest Python we run on: make lock PYTHON=python3.11 VENV=.venv-lock" >&2; exit 2; }
	$(COMPILE) $(ARGS) --output-file requirements/run.txt pyproject.toml
	$(COMPILE) --extra dev --constraint requirements/run.txt $(ARGS) \
		--output-file requirements/dev.txt pyproject.toml

audit: $(DEV_STAMP) ## check the locked dependencies against the advisory database (needs the network)
	@$(BIN)/pip-audit --requirement requirements/run.txt --require-hashes --disable-pip $(ARGS)

wheel: $(DEV_STAMP) ## build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation $(ARGS)

clean: ## remove the environment and files of tools; data and configuration stay
	@if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage build dist
	@find schemas firsthour services devtools tests deploy -name __pycache__ -type d -prune -exec rm -rf {} +

# --- environments -------------------------------------------------------------------------------------------------

# A link left by a Python that is gone counts as missing, so it is removed before a new one is made.
$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || \
		{ echo "There is no $(PYTHON). Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.12 ..." >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "FirstHour needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" -V 2>&1). Name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make environments: its venv module is missing. Debian, Ubuntu: apt install python3-venv" >&2; exit 2; }
	@rm -f $(BIN)/python $(BIN)/python3 $(BIN)/python3.*
	@"$(PYTHON)" -m venv "$(VENV)"

$(RUN_STAMP): | $(BIN)/python
	@echo "Installing what running needs into $(VENV) (about half a minute) ..."
	@$(PIP) install --quiet --require-hashes --requirement requirements/run.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.run-* && touch $@

$(DEV_STAMP): | $(BIN)/python
	@echo "Installing what the tests and checks need into $(VENV) (about half a minute) ..."
	@$(PIP) install --quiet --require-hashes --requirement requirements/dev.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.run-* $(VENV)/.dev-* && touch $@ $(RUN_STAMP)
