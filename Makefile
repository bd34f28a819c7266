# Every target does its own set-up in .venv and needs nothing but Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: test thorough demo docs bench bench-installed bench-speed bench-toys bench-storage lint \
	types layers sanitized clean

$(STAMP): pyproject.toml setup.py constraints.txt theta_store/kernels/native.c
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[torch]" --group test --group dev
	touch $(STAMP)

test: $(STAMP)
	$(BIN)/python -m pytest -q

# What CI runs a little of, in full: 10,000 forms, 200 kills.
thorough: $(STAMP)
	$(BIN)/python -m pytest -q tests/store/test_forms_round_trip.py --hypothesis-profile=thorough
	$(BIN)/python -m tests.store.repack_race --kills 200

# The loops in C under GCC's sanitizers, in a copy of the tree: a process that has not loaded these
# first could not import what they make.
SANITIZED := build/sanitized
sanitized: $(STAMP)
	rm -rf $(SANITIZED)
	mkdir -p $(SANITIZED)
	cp -R theta theta_store tests setup.py pyproject.toml README.md LICENSE $(SANITIZED)
	rm -f $(SANITIZED)/theta_store/kernels/*.so
	cd $(SANITIZED) && CFLAGS="-g -fsanitize=address,undefined -fno-sanitize-recover=undefined" \
		$(CURDIR)/$(BIN)/python setup.py -q build_ext --inplace
	nm $(SANITIZED)/theta_store/kernels/*.so | grep -q __asan
	cd $(SANITIZED) && ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		PYTHONPATH=. $(CURDIR)/$(BIN)/python -m pytest -q -p no:cacheprovider \
		tests/store/kernels tests/store/codecs tests/store/predictors/test_weighted_sum.py \
		--deselect tests/store/kernels/test_native.py::test_theta_runs_without_them
	rm -rf $(SANITIZED)

demo: $(STAMP)
	$(BIN)/python docs/examples/run_demo.py

# Each stage of the spine, then how long the command takes to start.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt --group bench
	$(BIN)/python -m pytest -q -s benchmarks/bench_spine.py --benchmark-columns=min,median,rounds \
		--benchmark-group-by=func --benchmark-sort=name
	$(BIN)/python -m benchmarks.startup

# theta as a user has it, from a wheel: what is installed for development costs every process 13 ms.
INSTALLED := .benchmarks/installed
bench-installed:
	test -x $(INSTALLED)/bin/python || $(PYTHON) -m venv $(INSTALLED)
	$(INSTALLED)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(INSTALLED)/bin/python -m pip install --quiet -c constraints.txt ".[torch]" --group test --group bench
	rm -rf build
	$(INSTALLED)/bin/python -m pip install --quiet --no-deps --force-reinstall .

# Beside cp and the peers, which are installed in .benchmarks on first use; then how the cost grows.
# Takes about forty minutes on a quiet machine; rewrites docs/explanation/performance.md. HOLD is how
# many GiB are kept occupied beside the copies: see benchmarks/held_memory.py.
HOLD ?= 0
bench-speed: BIN := $(INSTALLED)/bin
bench-speed: bench-installed
	$(BIN)/python -m benchmarks.peers --hold $(HOLD)
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.cp_ratio --hold $(HOLD)
	$(BIN)/python -m benchmarks.stages --hold $(HOLD)
	$(BIN)/python -m benchmarks.threads --hold $(HOLD)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench_engine --hold $(HOLD) --recycle 400
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench_engine --hold $(HOLD) --recycle 400 --one-core
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.merge_peers --hold $(HOLD)
	$(BIN)/python -m benchmarks.merge_peers --alone --layers 80 --shards 20 --keep-as merge_peers_shards
	$(BIN)/python -m benchmarks.targets

# What strategies are worth on small networks; rewrites docs/how-to/merging.md's tables and plots.
bench-toys: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt --group bench
	$(BIN)/python -m benchmarks.toy_merges

# Trains small models first (kept in .benchmarks), then takes about ten minutes; git-lfs, if it is
# there, and git-theta are run for real.
bench-storage: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt --group bench
	nice -n 10 $(BIN)/python -m benchmarks.storage_sizes

# The pages that are made from the program itself.
docs: $(STAMP)
	$(BIN)/python docs/generate_cli.py
	$(BIN)/python docs/generate_python.py
	$(BIN)/python docs/generate_layers.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
