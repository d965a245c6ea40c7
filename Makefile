# Every target makes the environment it needs; no activation is needed.
# A stamp file records what is installed, so that a second run installs nothing.
PYTHON ?= python3
VENV := .venv
PARITY := .venv-parity
ANOMALIB := .venv-parity-anomalib
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PYTEST := $(BIN)/python -m pytest
# Collecting all others again takes seconds.
SERIAL := -m serial $$(grep -rl 'mark\.serial' tests/unit tests/integration tests/acceptance)
COVERED := COVERAGE_FILE=$(CURDIR)/.coverage.d/data $(PYTEST)
# Processes that run tests side by side, each with a server of its own.
WORKERS ?= 2
FAST := tests/unit tests/integration/store/test_banks.py tests/integration/store/test_inspections.py
# Where `make install` puts the command: for one user, or with PREFIX=/usr/local for all.
PREFIX ?= $(HOME)/.local
EXTRAS ?= report
INSTALLED := $(PREFIX)/lib/patchbank
COMMAND := $(PREFIX)/bin/patchbank
# A running embedded PostgreSQL could not load what is replaced or removed below it.
STOP := [ ! -x "$(INSTALLED)/bin/patchbank" ] || "$(INSTALLED)/bin/patchbank" database stop >/dev/null || true
# pip 25.1 and newer know dependency groups.
PIP := -m pip --disable-pip-version-check --quiet
# Python compiles what is imported; most of what is installed never is.
INSTALL := $(PIP) install --no-compile

.PHONY: help install uninstall environment parity-environment demo serve test test-fast coverage lint site screenshots parity parity-anomalib bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

$(STAMPS)/pip:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or newer, or set PYTHON" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) install 'pip>=25.1'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/demo: pyproject.toml | $(STAMPS)/pip
	$(BIN)/python $(INSTALL) --editable '.[demo,server]'
	@touch $@

$(STAMPS)/test: pyproject.toml | $(STAMPS)/pip
	$(BIN)/python $(INSTALL) --editable '.[demo,heic,hub,int8,lite1,lite2,mqtt,server]' --group test
	@touch $(STAMPS)/demo $@

$(STAMPS)/lint: pyproject.toml | $(STAMPS)/test
	$(BIN)/python $(INSTALL) --group lint
	@touch $@

$(PARITY)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python $(PIP) install 'pip>=25.1'
	$(PARITY)/bin/python $(INSTALL) --editable '.[lite1,lite2,demo]' --group parity
	@touch $@

$(ANOMALIB)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(ANOMALIB)
	$(ANOMALIB)/bin/python $(PIP) install 'pip>=25.1'
	$(ANOMALIB)/bin/python $(PIP) install --editable . --group parity-anomalib
	@touch $@

# Measured beside PyTorch, which only that environment has.
$(PARITY)/.bench: $(PARITY)/.stamp
	$(PARITY)/bin/python $(PIP) install --editable '.[int8]' --group bench
	@touch $@

install: ## put the command patchbank on your path (EXTRAS=report,hub,heic,int8; PREFIX=/usr/local for all users)
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or newer, or set PYTHON" >&2; exit 1; }
	@[ "$$(readlink "$(COMMAND)")" = "$(INSTALLED)/bin/patchbank" ] || [ ! -e "$(COMMAND)" ] || \
	  { echo "make: $(COMMAND) was not installed by make install; remove it first, or set PREFIX" >&2; exit 1; }
	@$(STOP)
	@$(PYTHON) -m venv --clear "$(INSTALLED)" || \
	  { echo "make: cannot make the environment; on Debian and Ubuntu, install python3-venv" >&2; exit 1; }
	"$(INSTALLED)/bin/python" $(PIP) install '.$(if $(EXTRAS),[$(EXTRAS)])'
	@mkdir -p "$(PREFIX)/bin" && ln -sfn "$(INSTALLED)/bin/patchbank" "$(COMMAND)"
	@"$(COMMAND)" --version
	@case ":$$PATH:" in *":$(PREFIX)/bin:"*) ;; \
	  *) echo "make: $(PREFIX)/bin is not on your PATH yet: log in again, or run: export PATH=\"$(PREFIX)/bin:\$$PATH\"";; esac

uninstall: ## remove what make install installed; banks stay
	@[ "$$(readlink "$(COMMAND)")" != "$(INSTALLED)/bin/patchbank" ] || rm "$(COMMAND)"
	@$(STOP)
	rm -rf "$(INSTALLED)"

environment: $(STAMPS)/lint ## make the environment of the tests and checks, and run nothing

parity-environment: $(PARITY)/.stamp ## make the environment of parity, and run nothing

demo: $(STAMPS)/demo ## learn and judge real solar cells; leaves a page in ./demo
	$(BIN)/patchbank demo --folder demo

serve: $(STAMPS)/demo ## the demo in your browser, at http://127.0.0.1:8420
	@[ -e demo/index.html ] || $(BIN)/patchbank demo --folder demo
	$(BIN)/patchbank serve

test: $(STAMPS)/test ## run the tests
	$(PYTEST) --numprocesses $(WORKERS) --dist worksteal -m 'not serial'
	$(PYTEST) $(SERIAL)

test-fast: $(STAMPS)/test ## run the tests of units and a few of the store, in a minute
	$(PYTEST) --numprocesses $(WORKERS) --dist worksteal -m 'not serial and not slow' $(FAST)

coverage: $(STAMPS)/test ## run the tests and report which lines and branches of src they run
	@# Processes of other accounts write there too.
	@mkdir -p -m 1777 .coverage.d
	$(COVERED) --numprocesses $(WORKERS) --dist worksteal -m 'not serial' --cov --cov-report=
	$(COVERED) $(SERIAL) --cov --cov-append --cov-report=term

lint: $(STAMPS)/lint ## style, types, layers, words and configuration
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell --dictionary - --dictionary .ci/terms.txt
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml compose.host.yaml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@# Every link of the documentation leads somewhere.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

site: $(STAMPS)/lint ## the documentation as a site: build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

screenshots: $(STAMPS)/test ## take the pictures of the pages in docs/images/pages anew
	PYTHONPATH=. $(BIN)/python docs/site/screenshots.py

parity: $(PARITY)/.stamp ## compare with the PyTorch reference implementations
	$(PARITY)/bin/python -m pytest tests/parity

parity-anomalib: $(ANOMALIB)/.stamp ## compare with banks that the real Anomalib makes: 6 GB on disk
	$(ANOMALIB)/bin/python -m pytest tests/parity_anomalib -W ignore -s --timeout 3600

bench: $(PARITY)/.bench ## measure speed: twenty minutes; figures go to build/bench and docs/performance.md
	$(PARITY)/bin/python -m benchmarks

clean: ## remove the environments and caches
	rm -rf $(VENV) $(PARITY) $(ANOMALIB) .mypy_cache .ruff_cache .pytest_cache .coverage
