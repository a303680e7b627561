# The two commands a newcomer types: `make demo` and `make test`. The rest is for those who work on the library.
# Everything happens in .venv, which these rules make; nothing needs root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell git ls-files src setup.py pyproject.toml README.md MANIFEST.in 2>/dev/null || find src setup.py pyproject.toml -type f)

# cython-lint looks for pycodestyle there.
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "softmax_cy needs Python 3.10 or newer; name one with `make PYTHON=...`")'
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: install it (Debian, Ubuntu: apt install python3-venv)"; rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip

# A wheel built from this tree, with the variants that only tests use, and installed: what a user would import.
$(VENV)/installed: $(BIN)/python $(SOURCES)
	rm -rf build/wheel
	SOFTMAX_CY_BUILD_TEST_VARIANTS=1 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps build/wheel/*.whl
	@touch $@

$(VENV)/%-requirements: $(BIN)/python pyproject.toml
	$(BIN)/python tools/requirements.py $* | $(BIN)/python -m pip install --quiet --requirement /dev/stdin
	@touch $@

demo: $(VENV)/installed $(VENV)/demo-requirements  ## the article's walk, then handwritten digits: two pictures and their checks
	$(BIN)/python examples/quickstart.py
	$(BIN)/python examples/digits.py

test: $(VENV)/installed $(VENV)/test-requirements lint  ## every test over every variant that runs here, doctests, linters
	$(BIN)/python -m pytest

lint: $(VENV)/installed $(VENV)/test-requirements  ## ruff, cython-lint, and the types against the built module
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cython-lint src
	cd build && ../$(BIN)/python -m mypy.stubtest softmax_cy --ignore-missing-stub --mypy-config-file ../pyproject.toml

# What reads and writes memory, under the address and undefined-behaviour sanitizers.
SANITIZE := -fsanitize=address,undefined -fno-omit-frame-pointer
SANITIZED_TESTS := softmax log_softmax logsumexp products jacobian softmax_and_jacobian cross_entropy columns options
sanitize: $(VENV)/test-requirements  ## the numerical tests under AddressSanitizer and UndefinedBehaviorSanitizer (minutes)
	rm -rf build/sanitize
	CFLAGS="$(SANITIZE)" LDFLAGS="$(SANITIZE)" SOFTMAX_CY_BUILD_TEST_VARIANTS=1 $(BIN)/python setup.py --quiet \
	    build --build-lib build/sanitize/lib --build-temp build/sanitize/temp
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 PYTHONPATH=build/sanitize/lib \
	    $(BIN)/python -m pytest -q --capture=no $(SANITIZED_TESTS:%=tests/test_%.py)

SECONDS := 60
SEED := 1
fuzz: $(VENV)/installed $(VENV)/test-requirements  ## arbitrary arguments at every function: make fuzz SECONDS=60
	$(BIN)/python tools/fuzz.py --seconds $(SECONDS) --seed $(SEED)

huge: $(VENV)/installed $(VENV)/test-requirements  ## arrays of more than 2**31 elements: 9 GB of memory, minutes
	$(BIN)/python -m pytest -m huge tests/test_huge.py

race: $(VENV)/installed $(VENV)/race-requirements  ## beside torch, oneDNN, ONNX Runtime, JAX, SciPy, NumPy: make race ARGS="--select softmax"
	$(BIN)/python -m benchmarks.race $(ARGS)

accuracy: $(VENV)/installed $(VENV)/accuracy-requirements  ## the largest error of every function, beside others: make accuracy ARGS="--markdown docs/accuracy.md"
	$(BIN)/python -m benchmarks.accuracy $(ARGS)

exhaustive: $(VENV)/installed $(VENV)/test-requirements  ## the exponential on every float32 and many float64 (minutes)
	$(BIN)/python tools/exhaustive.py $(ARGS)

vectors: $(VENV)/installed $(VENV)/accuracy-requirements  ## compute the reference vectors of the tests anew
	$(BIN)/python tools/vectors.py

golden: $(VENV)/installed $(VENV)/test-requirements  ## write the digests of the promised bits anew: after a change that means to change bits
	$(BIN)/python tools/golden.py

CLANG := clang
golden-clang: $(VENV)/test-requirements  ## the same bits from another compiler: make golden-clang CLANG=clang-19
	rm -rf build/clang
	CC=$(CLANG) SOFTMAX_CY_BUILD_TEST_VARIANTS=1 $(BIN)/python setup.py --quiet \
	    build --build-lib build/clang/lib --build-temp build/clang/temp
	PYTHONPATH=build/clang/lib $(BIN)/python tools/golden.py --check

clean:  ## remove what was built, .venv too
	rm -rf build dist $(VENV) demo-output src/*.egg-info

.PHONY: help demo test lint sanitize fuzz huge race accuracy exhaustive vectors golden golden-clang clean
