# `make` lists the targets. Everything they need goes into .venv, in the checkout.

VENV := .venv
BIN := $(VENV)/bin
ifndef PYTHON  # the one asked for last
PYTHON := $(or $(shell sed -n 2p $(VENV)/.made 2>/dev/null),python3)
endif

# Molecule and ansible-lint start other tools by name.
OUTER_PATH := $(PATH)
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Only the checkout counts, not a bluegreen.deploy that is installed in the home directory.
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/$(VENV)
# A play that matches no host passes otherwise. (ansible-lint checks plays without an inventory.)
demo unit integration faults hosts molecule bench: export ANSIBLE_HOST_PATTERN_MISMATCH := error

MODULES := $(patsubst plugins/modules/%.py,bluegreen.deploy.%,$(wildcard plugins/modules/*.py))
ROLES := $(patsubst roles/%/tasks/main.yml,bluegreen.deploy.%,$(wildcard roles/*/tasks/main.yml))

.PHONY: help
help:
	@echo "usage: make <target> [PYTHON=python3.x]"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r target text; do \
	  printf '  %-12s %s\n' $$target "$$text"; done

.PHONY: demo
demo: $(VENV)/.demo ## the live demo: a release and its way back under load [REQUESTS=n]
	@$(BIN)/python -m demo.run $(if $(REQUESTS),--requests $(REQUESTS))

# Quick parts first.
PARTS := lint build unit docs integration faults molecule sanity
.PHONY: test
test: $(VENV)/.test ## lint, build, unit, docs, integration, faults, molecule and sanity, to the first failure
	@times=; for part in $(PARTS); do \
	  printf '\n== make %s\n' $$part; start=$$(date +%s); \
	  $(MAKE) --no-print-directory $$part FAULTS=short || { printf '\nmake test: %s failed\n' $$part; exit 1; }; \
	  times="$$times$$(printf '%6d s  %s' $$(($$(date +%s) - start)) $$part)\n"; \
	done; printf '\nmake test: all parts passed\n%b' "$$times"

.PHONY: lint
lint: $(VENV)/.test ## ruff, mypy, ansible-lint, changelog fragments
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/ansible-lint --offline --strict
	$(BIN)/antsibull-changelog lint

.PHONY: unit
unit: $(VENV)/.test ## the unit tests
	$(BIN)/python -m pytest -n 2 tests/unit

# More at once than there are cores: a good part of the time they wait for servers.
.PHONY: integration
integration: $(VENV)/.test ## the integration tests, against real servers on loopback [ONLY=haproxy]
	$(BIN)/python -m pytest -n 4 --dist worksteal tests/integration/targets$(if $(ONLY),/$(ONLY))

.PHONY: faults
faults: $(VENV)/.test ## what may befall a release, all of it, on three versions of ansible-core [FAULTS=short]
	$(BIN)/python -m tests.faults.run $(FAULTS)

.PHONY: hosts
hosts: $(VENV)/.test ## the roles over SSH on real hosts, as root, not part of `make test` [TESTS='-k …']
	$(BIN)/python -m pytest -n 0 tests/hosts $(TESTS)

.PHONY: molecule
molecule: $(VENV)/.test ## the roles, scenario by scenario
	$(BIN)/molecule test --all

.PHONY: sanity
sanity: $(VENV)/.test ## ansible-test sanity, on every Python found
	$(BIN)/python tests/sanity.py

# ansible-doc passes over what it does not find: hold its answer against what there is.
documented = $(BIN)/ansible-doc --json -t $(1) $(2) | $(BIN)/python -c 'import json, sys; shown = json.load(sys.stdin); \
  sys.exit(", ".join(f"{name}: no documentation" for name in sys.argv[1:] if not shown.get(name)) or 0)' $(2)

.PHONY: docs
docs: $(VENV)/.test ## the documentation of every module and role
	$(BIN)/antsibull-docs lint-collection-docs --plugin-docs .
	@$(if $(MODULES),$(call documented,module,$(MODULES)))
	@$(if $(ROLES),$(call documented,role,$(ROLES)))

.PHONY: build
build: $(VENV)/.demo ## the collection as a tarball, in build/
	$(BIN)/ansible-galaxy collection build --force --output-path build

.PHONY: bench
bench: $(VENV)/.bench ## the benchmarks against the peers
	$(BIN)/python -m benchmarks.run

.PHONY: clean
clean: ## remove .venv, build/ and the tools' caches
	rm -rf $(VENV) build .cache .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache tests/output

# A virtual environment holds absolute paths: one made elsewhere, or by another Python, is made anew.
ifneq ($(shell test -x $(BIN)/python && cat $(VENV)/.made 2>/dev/null),$(CURDIR) $(PYTHON))
$(VENV)/.made: FORCE
endif
FORCE:

$(VENV)/.made: export PATH := $(OUTER_PATH)
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed: install one and name it, as in: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: install its venv package, such as python3-venv"; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@packages=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	  mkdir -p "$$packages/ansible_collections/bluegreen" && \
	  ln -s "$(CURDIR)" "$$packages/ansible_collections/bluegreen/deploy"
	@printf '%s\n' "$(CURDIR)" "$(PYTHON)" > $@

$(VENV)/.demo $(VENV)/.test $(VENV)/.bench: $(VENV)/.%: requirements/%.txt requirements/demo.txt $(VENV)/.made
	@echo "installing the $* tools into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -r $<
	@touch $@
