# The two commands a newcomer types: `make demo` and `make test`. The rest is for those who work on the library.
# Everything happens in .venv, which these rules make; nothing needs root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell git ls-files src tools/write_*.py setup.py pyproject.toml README.md MANIFEST.in 2>/dev/null || find src tools/write_*.py setup.py pyproject.toml -type f)

# cython-lint looks for pycodestyle there.
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help

# A line `##@ Title` begins a group of targets, which lasts until the next such line. A title may come again.
help:  ## list the targets
	@awk 'BEGIN { group = "Other"; lines[group] = "" } \
	    /^##@ / { group = substr($$0, 5); if (!(group in lines)) { titles[++count] = group; lines[group] = "" } } \
	    /^[a-z0-9-]+:.* ## / { target = text = $$0; sub(/:.*/, "", target); sub(/^[^#]*## /, "", text); \
	        lines[group] = lines[group] sprintf("  %-17s %s\n", target, text) } \
	    END { titles[++count] = "Other"; for (i = 1; i <= count; i++) \
	        printf "%s%s\n%s", (i > 1 ? "\n" : ""), titles[i], lines[titles[i]] }' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "softmax_cy needs Python 3.10 or newer; name one with `make PYTHON=...`")'
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: install it (Debian, Ubuntu: apt install python3-venv)"; rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip

# A wheel built from this tree, with the variants that only tests use, and installed: what a user would import. The first
# command compiles what has changed, and says so. The second finds all of it done.
$(VENV)/installed: export SOFTMAX_CY_BUILD_TEST_VARIANTS := 1
$(VENV)/installed: $(BIN)/python $(VENV)/build-requirements $(SOURCES)
	$(BIN)/python setup.py --quiet build
	rm -rf build/wheel build/bdist*
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps build/wheel/*.whl
	rm -f $(VENV)/lib/python3*/site-packages/softmax_cy/torch/_native*
	@touch $@

$(VENV)/%-requirements: $(BIN)/python pyproject.toml
	$(BIN)/python tools/requirements.py $* | $(BIN)/python -m pip install --quiet --requirement /dev/stdin
	@touch $@

##@ Try it

demo: $(VENV)/installed $(VENV)/demo-requirements  ## Jacobians, handwritten digits, a network of torch; slices in parts: a file, processes, attention
	$(BIN)/python examples/quickstart.py
	$(BIN)/python examples/digits.py
	$(BIN)/python examples/torch_classifier.py
	$(BIN)/python examples/stream_file.py
	$(BIN)/python examples/sharded_vocabulary.py
	$(BIN)/python examples/attention_over_blocks.py

dask-demo: $(VENV)/installed $(VENV)/dask-demo-requirements  ## arrays in chunks on a cluster of this machine (minutes): make dask-demo ARGS="--columns 400000"
	$(BIN)/python -m benchmarks.chunks.demo $(ARGS)

##@ Test

# In how many processes the tests run, a file at a time. 0: all in one. tests/conftest.py says which files run by
# themselves.
JOBS := 2
test: $(VENV)/installed $(VENV)/test-requirements lint  ## every test over every variant that runs here, doctests, linters (10 minutes): make test JOBS=4
	$(BIN)/python -m pytest -m "not alone and $(USUAL)" --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -m "alone and $(USUAL)"

# As in pyproject.toml.
USUAL := not huge and not guard

# Every function over every variant, and its errors. The others are not even imported.
FAST_TESTS := vectors golden scipy_cases errors out scalars overlapping_elements plain dispatch operations kernel_layers docs
test-fast: $(VENV)/installed $(VENV)/test-requirements  ## some tests of every function over every variant, and ruff: a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q $(FAST_TESTS:%=tests/test_%.py)

test-freethreaded:  ## the tests of threads on a Python without a GIL, which is built here (minutes)
	$(PYTHON) tools/freethreaded.py $(ARGS)

lint: $(VENV)/installed $(VENV)/test-requirements  ## ruff, cython-lint, clang-format, and the types against the built module
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cython-lint src
	find src tests -name '*.[ch]' -o -name '*.[ch]pp' | xargs $(BIN)/clang-format --dry-run -Werror
	cd build && ../$(BIN)/python -m mypy.stubtest softmax_cy --ignore-missing-stub --mypy-config-file ../pyproject.toml

# The library with the checks of a sanitizer built in, for the rules that run under one.
build/address/built: FLAGS := -fsanitize=address,undefined -fno-omit-frame-pointer
build/thread/built: FLAGS := -fsanitize=thread -fno-omit-frame-pointer
build/%/built: $(VENV)/test-requirements $(SOURCES)
	CFLAGS="$(FLAGS)" LDFLAGS="$(FLAGS)" SOFTMAX_CY_BUILD_TEST_VARIANTS=1 $(BIN)/python setup.py --quiet \
	    build --build-lib build/$*/lib --build-temp build/$*/temp
	@touch $@

UNDER_ADDRESS := LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 PYTHONPATH=$(abspath build/address/lib)
SANITIZED_TESTS := out same_bits errors softmax log_softmax logsumexp products jacobian softmax_and_jacobian cross_entropy columns options capi
sanitize: build/address/built  ## the numerical tests under AddressSanitizer and UndefinedBehaviorSanitizer (minutes)
	$(UNDER_ADDRESS) $(BIN)/python -m pytest -q --capture=no $(SANITIZED_TESTS:%=tests/test_%.py)

# ThreadSanitizer may crash where addresses are random, and some shells crash under it.
UNDER_THREAD := setarch -R env LD_PRELOAD=$$(gcc -print-file-name=libtsan.so)
sanitize-c: build/address/built build/thread/built  ## the examples for embedders under the same, and the threads of C under ThreadSanitizer
	CFLAGS="-g -fsanitize=address,undefined" CXXFLAGS="-g -fsanitize=address,undefined" \
	    LDFLAGS="-fsanitize=address,undefined" $(UNDER_ADDRESS) \
	    $(BIN)/python -m pytest -q --capture=no tests/test_examples_of_embedding.py
	rm -rf build/thread/c
	cp -r src/softmax_cy/examples/c build/thread/c
	cd build/thread/c; export CFLAGS="-g -O1 -fsanitize=thread" LDFLAGS="-fsanitize=thread" TSAN_OPTIONS=exitcode=66 \
	    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONPATH=$(abspath build/thread/lib); \
	    $(MAKE) --silent PYTHON="$(UNDER_THREAD) python" && $(UNDER_THREAD) python use_row_pool.py && \
	    echo 1 2 3 | setarch -R ./classify 3

stress: $(VENV)/test-requirements  ## a million jobs for the pool of threads, by itself and under ThreadSanitizer (minutes)
	$(BIN)/python tools/pool_stress.py
	$(UNDER_THREAD) $(BIN)/python tools/pool_stress.py --flags=-fsanitize=thread

SECONDS := 60
SEED := 1
fuzz: $(VENV)/installed $(VENV)/test-requirements  ## arbitrary arguments at every function: make fuzz SECONDS=60
	$(BIN)/python tools/fuzz.py --seconds $(SECONDS) --seed $(SEED)

huge: $(VENV)/installed $(VENV)/test-requirements  ## arrays of more than 2**31 elements: 9 GB of memory, minutes
	$(BIN)/python -m pytest -m huge tests/test_huge.py

guard: $(VENV)/installed $(VENV)/test-requirements  ## no access out of bounds: millions of calls beside guard pages (half an hour)
	$(BIN)/python -m pytest -m guard tests/test_guard.py

##@ Measure

race: $(VENV)/installed $(VENV)/race-requirements  ## beside torch, oneDNN, ONNX Runtime, JAX, SciPy, NumPy: make race ARGS="--select softmax"
	$(BIN)/python -m benchmarks.race $(ARGS)

race-torch: $(VENV)/installed $(VENV)/race-requirements  ## softmax_cy.torch beside torch, eager and compiled (minutes): make race-torch ARGS=--eager
	$(BIN)/python -m benchmarks.torch_race $(ARGS)

torch-extension: $(VENV)/installed $(VENV)/race-requirements  ## the extension of softmax_cy.torch in C++, into .venv: make torch-extension race-torch
	$(BIN)/python tools/torch_extension.py

race-busy: $(VENV)/installed $(VENV)/race-requirements  ## several threads beside processes that compute, and beside nothing (minutes)
	$(BIN)/python -m benchmarks.busy $(ARGS)

dask-chunks: $(VENV)/installed $(VENV)/dask-demo-requirements  ## how the cost of arrays in chunks grows with their number, 4 to 4096
	$(BIN)/python -m benchmarks.chunks.cost $(ARGS)

accuracy: $(VENV)/installed $(VENV)/accuracy-requirements  ## the largest error of every function, beside others (minutes)
	$(BIN)/python -m benchmarks.accuracy $(ARGS)

##@ Test

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

test-aarch64: $(VENV)/test-requirements  ## the package on an emulated aarch64, with the golden bits: its Python is Debian's (minutes)
	$(BIN)/python tools/aarch64.py $(ARGS)

##@ Measure

OP := softmax
VARIANT := v4
DTYPE := float32
try: $(VENV)/test-requirements  ## this tree's kernels against the installed ones (half a minute): make try OP=softmax VARIANT=v4
	$(BIN)/python tools/try_kernels.py --operation $(OP) --variant $(VARIANT) --dtype $(DTYPE) $(ARGS)

embedding: $(VENV)/installed $(VENV)/test-requirements  ## what a call through the C interface costs, beside torch row by row
	$(BIN)/python -m benchmarks.embedding

##@ Documentation

docs: $(VENV)/installed $(VENV)/docs-requirements  ## the site, in build/site: pages, API, gallery, charts (a minute; no network)
	rm -rf build/site*
	mkdir -p build/site-source
	$(BIN)/python -m sphinx -q -W --keep-going -c docs -d build/site-doctrees build/site-source build/site
	@echo build/site/index.html

test-docs: docs  ## open every page of the site in Chromium, and run the code on the pages
	$(BIN)/python tools/check_site.py $(ARGS)
	$(BIN)/python -m pytest -q tests/test_site.py tests/test_docs.py

##@ Measure

# What is measured is built and installed by asv in environments of its own, in .asv.
COMMITS := HEAD^!
bench: $(BIN)/python $(VENV)/bench-requirements  ## the full asv suite for some commits (hours): make bench COMMITS=main~3..main
	$(BIN)/python -m asv machine --yes
	$(BIN)/python -m asv run --show-stderr --skip-existing-successful "$(COMMITS)"

bench-quick: $(VENV)/installed $(VENV)/bench-requirements  ## a part of the asv suite on this tree, to see that it works (a minute)
	$(BIN)/python -m benchmarks.bench quick

BASE := main~1
HEAD := HEAD
bench-compare: $(BIN)/python $(VENV)/bench-requirements  ## is HEAD slower than BASE? make bench-compare BASE=main~1
	$(BIN)/python -m benchmarks.bench compare $(BASE) $(HEAD)

report: $(BIN)/python $(VENV)/bench-requirements  ## one HTML page from asv's results: .asv/report.html
	$(BIN)/python -m benchmarks.dashboard

charts: $(BIN)/python $(VENV)/bench-requirements  ## the charts and tables of asv's results: docs/results/ and the README
	$(BIN)/python -m benchmarks.charts

##@ Release

VERSION :=
release: $(VENV)/installed $(VENV)/test-requirements  ## check, test and build a version, publish nothing: make release VERSION=0.2.0 ARGS=--dry-run
	$(BIN)/python tools/check_release.py "$(VERSION)" $(ARGS)

wheels: $(VENV)/wheels-requirements  ## wheels for each Python found, tested without a compiler: make wheels PYTHONS="3.10 3.13"
	$(BIN)/python tools/wheels.py $(PYTHONS) $(ARGS)

test-wheels: $(VENV)/wheels-requirements  ## install the wheels of dist/ where there is no compiler, and run the core of the tests
	$(BIN)/python tools/wheels.py --test $(PYTHONS) $(ARGS)

sdist: $(VENV)/wheels-requirements  ## the source distribution: dist/
	$(BIN)/python tools/wheels.py --sdist $(ARGS)

cross: $(VENV)/cross-requirements  ## compile the modules for aarch64, musl and macOS by Zig's clang: nothing is linked or run
	$(BIN)/python tools/cross.py $(ARGS)

##@ Other

clean:  ## remove what was built, .venv too
	rm -rf build dist $(VENV) demo-output src/*.egg-info

.PHONY: help demo dask-demo test test-fast test-freethreaded lint sanitize sanitize-c stress fuzz huge guard race race-torch torch-extension race-busy dask-chunks accuracy exhaustive vectors golden golden-clang test-aarch64 try embedding docs test-docs bench bench-quick bench-compare report charts release wheels test-wheels sdist cross clean
