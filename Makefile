# The verbs of this project; CI runs the same ones. Needs make and Python 3.11 or newer, nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# Bytecode is compiled on first import instead: compiling all of it would be more than half of the install's CPU time.
PIP     = $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-compile

.DEFAULT_GOAL := help
.PHONY: help run setup setup-dev test test-quick test-faults test-endurance bench-stream bench-features bench-batch lint format typecheck check clean lock audit sbom

help: ## List the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  %-16s %s\n", $$1, $$2}'

# One stamp per lock file: nothing is installed again until a lock changes.
$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || { echo "creating $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "installing from requirements.lock (about a minute the first time) ..."
	@$(PIP) --require-hashes --only-binary :all: -r requirements.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo "installing from requirements-dev.lock ..."
	@$(PIP) --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@

# Once, and not in every process of the pool at the same time.
$(VENV)/.warm: $(VENV)/.runtime $(wildcard features/*.py)
	@echo "compiling the ear's kernels (once, some 20 seconds) ..."
	@$(BIN)/python -c "import features; features.warm_up()"
	@touch $@

setup: $(VENV)/.runtime ## Create the environment from the lock file
	@chmod -R go-w model/artifacts # under umask 002 git leaves them writable by the group, and the worker refuses that
setup-dev: setup $(VENV)/.dev ## Add what tests and checks need

# EVENTS: how many plays; AUDIO: a folder of your own music; KAFKA: host:port of a real broker.
run: setup $(VENV)/.warm ## Play music through the worker and watch (EVENTS=100, AUDIO=folder, KAFKA=host:port)
	@$(BIN)/python -m deploy.demo $(if $(EVENTS),--plays "$(EVENTS)") $(if $(AUDIO),--audio "$(AUDIO)") $(if $(KAFKA),--kafka "$(KAFKA)")

test: setup-dev $(VENV)/.warm ## Run every test but the long faults; those that need real Kafka skip with a reason where there is none
	@$(BIN)/python -m pytest -m "not fault and not nightly"

test-quick: setup-dev $(VENV)/.warm ## Run the tests that take seconds
	@$(BIN)/python -m pytest -m "not slow and not kafka"

test-faults: setup-dev $(VENV)/.warm ## Break workers, brokers and networks on real Kafka and print the table of faults and ledger lines
	@EMOTION_TEST_NEEDS_KAFKA=1 $(BIN)/python -m pytest -m "fault or ledger" tests/integration

# MINUTES: how long, 30 by default.
test-endurance: setup-dev $(VENV)/.warm ## Half an hour of mixed load on real Kafka: memory, descriptors, threads stay flat (MINUTES=30)
	@EMOTION_TEST_NEEDS_KAFKA=1 EMOTION_TEST_MINUTES=$(MINUTES) $(BIN)/python -m pytest -m nightly tests/integration

# Quix Streams pins an older confluent-kafka than ours: it gets an environment of its own.
$(VENV)-peers/.stamp: tests/bench/peers.lock
	@test -x $(VENV)-peers/bin/python || $(PYTHON) -m venv $(VENV)-peers
	@$(VENV)-peers/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary :all: -r $<
	@touch $@

# ARGS: see python -m tests.bench.bench_stream --help.
bench-stream: setup-dev $(VENV)-peers/.stamp ## Time the stream beside its peers on real Kafka (ARGS="--only known")
	@$(BIN)/python -m tests.bench.bench_stream --peers-python $(VENV)-peers/bin/python $(ARGS)

$(VENV)-bench/.stamp: requirements-bench.lock pyproject.toml
	@test -x $(VENV)-bench/bin/python || $(PYTHON) -m venv $(VENV)-bench
	@echo "installing from requirements-bench.lock ..."
	@$(VENV)-bench/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary :all: -r requirements-bench.lock
	@$(VENV)-bench/bin/python -m pip --disable-pip-version-check --quiet install --no-build-isolation --no-deps --editable .
	@touch $@

# ARGS: see python -m tests.bench.bench_features --help.
bench-features: $(VENV)-bench/.stamp ## Time the ear beside librosa and essentia: CPU, memory, cold start (ARGS="CLIP.flac")
	@OMP_NUM_THREADS=1 $(VENV)-bench/bin/python -m tests.bench.bench_features $(ARGS)

bench-batch: setup-dev $(VENV)/.warm ## Time `classify` beside bare loops over the same tracks: how much of the cores it uses
	@$(BIN)/python -m tests.bench.bench_batch $(ARGS)

lint: setup-dev ## Check style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: setup-dev ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

typecheck: setup-dev ## Check types
	@$(BIN)/mypy

$(VENV)-audit/.stamp: requirements-audit.lock
	@test -x $(VENV)-audit/bin/python || $(PYTHON) -m venv $(VENV)-audit
	@$(VENV)-audit/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary :all: -r $<
	@touch $@

# pip-audit's own status is not used: it is 0 when its database knows none of the packages.
audit: setup $(VENV)-audit/.stamp ## Ask whether any locked dependency has a known vulnerability
	@mkdir -p build
	@$(VENV)-audit/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip \
	  --progress-spinner off --format json --output build/audit.json 2> build/audit.log || test -s build/audit.json \
	  || { cat build/audit.log; echo "NOT AUDITED: the database could not be reached"; echo '{"dependencies":[]}' > build/audit.json; }
	@$(BIN)/python -m deploy.audit build/audit.json

sbom: $(VENV)-audit/.stamp ## Write the bill of materials of what the worker runs on (CycloneDX, build/sbom.cdx.json)
	@mkdir -p build
	@$(VENV)-audit/bin/cyclonedx-py requirements requirements-worker.lock --output-reproducible --output-format JSON --output-file build/sbom.cdx.json
	@echo build/sbom.cdx.json

check: lint typecheck test ## Everything CI runs

lock: ## Resolve the lock files anew (needs uv)
	uv pip compile pyproject.toml --extra lifecycle --extra tracing --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file requirements.lock
	uv pip compile pyproject.toml --extra tracing --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --constraint requirements.lock --output-file requirements-worker.lock
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --constraint requirements.lock --output-file requirements-dev.lock
	uv pip compile pyproject.toml --extra bench --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --constraint requirements.lock --output-file requirements-bench.lock
	uv pip compile requirements-audit.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file requirements-audit.lock

clean: ## Remove the environment and every cache
	rm -rf $(VENV) $(VENV)-peers $(VENV)-bench $(VENV)-audit .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
