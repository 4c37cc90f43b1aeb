PYTHON ?= python3
READY = .venv/ready

demo: $(READY)
	.venv/bin/bench run --epochs 5 --results .venv/demo
test: $(READY)
	.venv/bin/python -m pytest -q
bench: $(READY)
	.venv/bin/python -m pytest -q benchmarks --benchmark-sort=name
lint: $(READY)
	.venv/bin/ruff check . && .venv/bin/ruff format --check .
types: $(READY)
	.venv/bin/mypy
clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .benchmarks
$(READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && touch $@

.PHONY: demo test bench lint types clean
