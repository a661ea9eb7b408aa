# Everything happens in .venv, made from whatever Python 3.11 or newer is called $(PYTHON).
PYTHON ?= python3
BIN := .venv/bin
DEMO := demo_output
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
OLDEST := import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
  print(*(n.replace(">=", "==") for n in p["dependencies"] + p["optional-dependencies"]["test"]))
IMAGES := science.fits template.fits difference.fits
NIRCAM := $(addprefix sample_data/nircam/,$(IMAGES)) \
  --kernel sample_data/nircam/kernel.fits \
  $(foreach role,science template,--$(role)-noise sample_data/nircam/$(role)_sigma.fits \
  --$(role)-noise-kind sigma --$(role)-psf sample_data/nircam/$(role)_psf.fits)
HOTPANTS := $(addprefix sample_data/hotpants/,$(IMAGES)) \
  --science-gain 1.6 --science-read-noise 5 --template-gain 6.6 --template-read-noise 5.1962 \
  $(foreach role,science template,--$(role)-mask sample_data/hotpants/$(role)_mask.fits) \
  --difference-noise sample_data/hotpants/difference_sigma.fits --difference-noise-kind sigma \
  --difference-psf sample_data/hotpants/difference_psf.fits
BEFORE = sample_data/$1/difference.fits --psf sample_data/$1/$2_psf.fits \
  --noise sample_data/$1/difference_sigma.fits --noise-kind sigma
NIRCAM_BEFORE := $(call BEFORE,nircam,science)
HOTPANTS_BEFORE := $(call BEFORE,hotpants,difference)
COMMA := ,

# One row of a table, out of the line that `check` prints.
NUMBER := ([0-9.]+)[^0-9]
judge = printf '%-37s' '$1' && $(BIN)/diffdecor check --quiet $2 | sed -E \
  's,^[^:]*: ([a-z ]+): max .rho. $(NUMBER).* I = $(NUMBER).* variance $(NUMBER).*,   \2     \3             \4  \1,'

define WHAT_IT_GAINED
What was gained: before, neighbouring pixels shared their noise (max |rho|, 0 is best), and the flux
of a faint source scattered I times as much as its error said (1 is best): what a search called
5 sigma was 5/I sigma. Now pixels are independent to about 0.01, and the variance plane says how much
they scatter (claimed/measured, 1 is best): 5 sigma are 5 sigma. The results are in $(DEMO)/.
endef
export WHAT_IT_GAINED

.PHONY: help demo test test-oldest check lint types format docs fuzz test-long whiteness bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/installed ## install, decorrelate the samples, and show what it gained
	@mkdir -p $(DEMO)
	$(BIN)/diffdecor run $(NIRCAM) -o $(DEMO)/nircam.fits --overwrite
	$(BIN)/diffdecor run $(HOTPANTS) -o $(DEMO)/hotpants.fits --overwrite
	@printf '\n%-37s%9s %9s %17s  %s\n' \
	  'diffdecor check:' 'max |rho|' 'I' 'claimed/measured' 'noise is'
	@$(call judge,NIRCam$(COMMA) as SFFT made it,$(NIRCAM_BEFORE))
	@$(call judge,NIRCam$(COMMA) after diffdecor,$(DEMO)/nircam.fits)
	@$(call judge,simulation$(COMMA) as HOTPANTS made it,$(HOTPANTS_BEFORE))
	@$(call judge,simulation$(COMMA) after diffdecor,$(DEMO)/hotpants.fits)
	@printf '\n%s\n' "$$WHAT_IT_GAINED"

test: .venv/test ## run the tests
	$(BIN)/python -m pytest --numprocesses auto

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

docs: .venv/test ## write the generated parts of the README anew
	$(BIN)/python tests/readme.py

fuzz: .venv/test ## ten thousand damaged files of every role and codec, and as many kernels
	PYTHONPATH=tests $(BIN)/python -W ignore tests/fuzz.py 10000
	DIFFDECOR_FUZZ=10000 $(BIN)/python -m pytest --numprocesses auto tests/kernels/test_fuzz.py

test-long: .venv/test ## kill 300 runs at random moments
	DIFFDECOR_KILLS=300 $(BIN)/python -m pytest tests/cli/test_signals.py

whiteness: .venv/test ## are the probabilities of `diffdecor check` right? 300 images of each kind
	PYTHONPATH=tests $(BIN)/python tests/whiteness.py

bench: .venv/test build/sfft/installed ## run the benchmarks (5 GB of files in build/)
	$(BIN)/python tests/benchmarks/run.py

clean: ## remove what was made here
	rm -rf .venv $(DEMO) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "diffdecor needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(PIP) --editable .
	@touch $@

# SFFT is only compared with. Where it cannot be installed its rows say so.
build/sfft/installed:
	$(PYTHON) -m venv build/sfft
	-build/sfft/bin/python -m pip --disable-pip-version-check install --quiet sfft && touch $@

.venv/test: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[test]'
	@touch $@ .venv/installed

# Wheels of versions this old exist for Python 3.11 and 3.12 only.
build/oldest/installed: pyproject.toml
	$(PYTHON) -m venv --clear build/oldest
	build/oldest/bin/python -m pip --disable-pip-version-check install --quiet --editable . \
	  $$($(PYTHON) -c '$(OLDEST)')
	@touch $@

.venv/lint: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[test,lint]'
	@touch $@ .venv/installed .venv/test
