# Python 3.11 or newer with venv, and make, are all it needs: the first target that runs installs requirements.lock into .venv.
# VENV=DIR uses an environment of yours (conda, venv) as it is instead.
PYTHON ?= python3
PROFILE ?= full
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# Notebooks at a time, each with its share of the cores: two, so that one computes while the other draws; more where they are short.
JOBS ?= $(if $(filter quick,$(PROFILE)),$(CORES),$(if $(filter 1,$(CORES)),1,2))

ifeq ($(origin VENV),undefined)
VENV := .venv
INSTALLED := .venv/.installed
COMPETITORS := .venv/.bench
endif

PY := $(VENV)/bin/python
TESTED := build/test
# A file of tests runs in one process. The longest comes first, so that no process waits for it at the end.
LONG := tests/test_lab_browser.py

.PHONY: help paper multiverse publish archive test check lab site bench clean install

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

paper: install  ## run the paper: execute the notebooks that changed, gather claims and figures in build/ (PROFILE=quick: few seeds; SCHEDULER=tcp://…: on dask)
	$(PY) -m riemlib run --profile $(PROFILE) --jobs $(JOBS) $(if $(SCHEDULER),--scheduler $(SCHEDULER))

multiverse: install  ## the networks of section 7 under every setting, into the table in riemlib/companion: ten minutes of two cores (SCHEDULER=tcp://…: on dask)
	$(PY) -m riemlib multiverse $(if $(SCHEDULER),--scheduler $(SCHEDULER))

publish: install  ## for maintainers: carry the full run in build/full, and edits of prose, to notebooks/ and README.md
	$(PY) -m riemlib publish

archive: install  ## for maintainers: what a citer of this version gets, the committed notebooks with their digests, as a file in build/
	$(PY) -m riemlib archive

test: lint speed  ## everything CI checks: lint, types, tests, the committed notebooks, and every notebook twice at the quick profile
	$(PY) -m riemlib run --profile quick --build $(TESTED) --jobs $(CORES)
	OMP_NUM_THREADS=1 RIEMLIB_BUILD=$(CURDIR)/$(TESTED)/quick PYTHONPATH=$(CURDIR) \
	$(PY) -m pytest -q -m 'not speed' -n $(CORES) --dist loadscope --no-loadscope-reorder \
		--nbval-lax --nbval-current-env --nbval-cell-timeout=600 $(LONG) $(TESTED)/quick/[0-9]*.ipynb tests

check: lint speed  ## lint, types and tests, without notebooks, browser and slow tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -m 'not speed and not browser and not slow' -n $(CORES)

.PHONY: lint speed
lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

speed: install
	$(PY) -m pytest -q -m speed

lab: install  ## JupyterLab on a working copy of the notebooks in build/lab (EDIT=1: on notebooks/ itself, for maintainers)
	$(PY) -m riemlib lab $(if $(EDIT),--edit)

site: install  ## the committed notebooks as a book in build/site
	$(PY) -m riemlib.companion.book build/site
	@echo "to read: build/site/index.html"

bench: install $(COMPETITORS)  ## speed, riemlib and its competitors side by side (PUBLISH=1: for maintainers, also as a page of the book)
	$(PY) tests/bench.py $(if $(PUBLISH),--publish)

clean:  ## removes build/ and .venv
	rm -rf build .venv

install: $(INSTALLED)

# The stamp is the last thing written, so an install that was cut off starts afresh.
.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is %s: make PYTHON=python3.12, say" % v)'
	@[ -f $@ ] || { echo "making an environment for Python in .venv"; $(PYTHON) -m venv --clear .venv; }
	@rm -f $@
	@.venv/bin/python -P riemlib/companion/install.py requirements.lock
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# JAX, for `make bench` alone, at versions that leave those of the lock as they are.
.venv/.bench: $(INSTALLED)
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --constraint requirements.lock -e '.[bench]' \
		&& touch $@ || echo "JAX could not be installed; the table goes without it"
