# Everything happens in .venv, made from whatever Python 3.11 or newer is called $(PYTHON).
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo_output
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
OLDEST := import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
  print(*(n.replace(">=", "==") for n in p["dependencies"] + p["optional-dependencies"]["test"]))
SAMPLE = $(foreach role,science template difference,sample_data/$1/$(role).fits)
NIRCAM := $(call SAMPLE,nircam) --kernel sample_data/nircam/kernel.fits --noise-kind sigma \
  $(foreach role,science template difference,--$(role)-noise sample_data/nircam/$(role)_sigma.fits) \
  $(foreach role,science template,--$(role)-psf sample_data/nircam/$(role)_psf.fits)
HOTPANTS := $(call SAMPLE,hotpants) --difference-psf sample_data/hotpants/difference_psf.fits

define WHAT_IT_GAINED

max |rho|         the largest correlation of two pixels within 5 pixels
noise I           fluxes of point sources scatter this many times as much as their errors say
claimed/measured  variance of single pixels
false at 5 sigma  what a matched filter finds in empty sky

(The warning above is right: the noise planes of the NIRCam images claim too little. The variance
of the result is scaled to what was measured.)

Look at  $(DEMO)/report.html
         $(DEMO)/nircam.png
Next:    . $(BIN)/activate
         diffdecor run --help
endef
export WHAT_IT_GAINED

.PHONY: help demo test test-oldest check lint types format docs fuzz test-long whiteness bench dist clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/report ## install, decorrelate the samples, and show what it gained
	@mkdir -p $(DEMO)
	$(BIN)/diffdecor run $(NIRCAM) -o $(DEMO)/nircam.fits --plot $(DEMO)/nircam.png --overwrite
	$(BIN)/diffdecor run $(HOTPANTS) -o $(DEMO)/hotpants.fits --overwrite
	$(BIN)/diffdecor report $(DEMO)/nircam.fits $(DEMO)/hotpants.fits \
	  --difference sample_data/nircam --difference sample_data/hotpants -o $(DEMO)/report.html --overwrite
	@echo
	@$(BIN)/python sample_data/demo.py $(DEMO)
	@echo "$$WHAT_IT_GAINED"

# Threads of BLAS only get in the way of tests that run side by side. What was compiled is kept, also
# where PYTHONDONTWRITEBYTECODE is set: hundreds of processes need not compile the package anew.
test: .venv/test ## run the tests
	PYTHONDONTWRITEBYTECODE= OPENBLAS_NUM_THREADS=1 \
	  $(BIN)/python -m pytest --numprocesses auto --dist worksteal

# Old versions know nothing of what newer ones beside them have deprecated.
test-oldest: build/oldest/installed ## run the tests with the oldest versions that are declared
	build/oldest/bin/python -m pytest --numprocesses auto -W ignore::DeprecationWarning

check: lint types ## format, lint and types

lint: .venv/lint ## formatter and linters
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/numpydoc lint $$(find diffdecor -name '*.py')
	$(BIN)/python tests/docstrings.py

types: .venv/lint ## strict types of the package
	$(BIN)/mypy

format: .venv/lint ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/test ## write the table of exit codes and the picture of the README anew
	$(BIN)/python tests/readme.py
	mkdir -p build
	$(BIN)/diffdecor run $(NIRCAM) -o build/nircam.fits --plot sample_data/before_after.png --overwrite

fuzz: .venv/test ## ten thousand damaged files of every role and codec, and as many kernels
	PYTHONPATH=tests $(BIN)/python -W ignore tests/fuzz.py 10000
	DIFFDECOR_FUZZ=10000 $(BIN)/python -m pytest --numprocesses auto tests/kernels/test_fuzz.py

test-long: .venv/test ## all tests with more examples; 300 runs and 50 batches killed at random moments
	DIFFDECOR_LONG=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal
	DIFFDECOR_KILLS=300 $(BIN)/python -m pytest tests/cli/test_signals.py
	DIFFDECOR_KILLS=50 $(BIN)/python -m pytest tests/batch/test_kills.py

whiteness: .venv/test ## are the probabilities of `diffdecor check` right? 300 images of each kind
	PYTHONPATH=tests $(BIN)/python tests/whiteness.py

bench: .venv/test build/sfft/installed ## run the benchmarks (5 GB of files in build/)
	$(BIN)/python tests/benchmarks/run.py

# What is built is tried where nothing of this folder can be found.
dist: .venv/bin/python ## build wheel and sdist in build/dist, and try the wheel in an empty environment
	rm -rf build/dist build/wheel
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip --disable-pip-version-check install --quiet build
	build/wheel/bin/python -m build --outdir build/dist .
	$(PYTHON) -m venv --clear build/wheel
	build/wheel/bin/python -m pip --disable-pip-version-check install --quiet build/dist/*.whl
	cd sample_data/hotpants && ../../build/wheel/bin/diffdecor run science.fits template.fits \
	  difference.fits -o ../../build/dist/hotpants.fits && \
	  ../../build/wheel/bin/diffdecor check ../../build/dist/hotpants.fits

clean: ## remove what was made here
	rm -rf .venv $(DEMO) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "diffdecor needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/report: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[report]'
	@touch $@

# SFFT is only compared with. Where it cannot be installed its rows say so.
build/sfft/installed:
	$(PYTHON) -m venv build/sfft
	-build/sfft/bin/python -m pip --disable-pip-version-check install --quiet sfft && touch $@

.venv/test: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[test]'
	@touch $@ .venv/report

# Wheels of versions this old exist for Python 3.11 and 3.12 only.
build/oldest/installed: pyproject.toml
	$(PYTHON) -m venv --clear build/oldest
	build/oldest/bin/python -m pip --disable-pip-version-check install --quiet --editable . \
	  $$($(PYTHON) -c '$(OLDEST)')
	@touch $@

.venv/lint: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[test,lint]'
	@touch $@ .venv/report .venv/test
