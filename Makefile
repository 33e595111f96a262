# `make search` and `make test` set up everything they need on a fresh machine: Python >= 3.11, make and
# the package registry are enough. PYTHON=/path/to/python3 chooses the interpreter.
.PHONY: search test lint bench chaos gpu-check report-demo clean environment

search: environment
	.venv/bin/nas search examples/quickstart.toml

test: environment
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist loadfile -m "not slow and not browser and not gpu"

lint: environment
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: environment
	.venv/bin/python -m benchmarks

# Searches that are killed at a thousand instants, and everything under them broken; about an hour.
chaos: environment
	OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks chaos
# On a machine with a GPU and a torch of its own, which is used where there is one: PYTHON=python3 make gpu-check
gpu-check:
	$(or $(PYTHON),.venv/bin/python) -m benchmarks.gpu_check
# Reports of a small real run, of one that was interrupted, of a detector and of 10,000 synthetic trials, and their index.
report-demo: environment
	.venv/bin/python tools/report_demo.py build/report-demo

environment:
	@tools/setup_environment.sh

clean:
	rm -rf .venv dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
