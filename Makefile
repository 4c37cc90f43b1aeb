PYTHON ?= python3
READY = .venv/ready
DEMO = --backbone test_resnet --batch-size 128 --epochs 20 --results demo

demo: $(READY)
	.venv/bin/bench run --method simclr,vicreg,supervised,random --eval linear,knn --label-frac 0.01,0.1,1 $(DEMO)
test: $(READY)
	.venv/bin/python -m pytest -q -n 2 -p no:benchmark -m "not long"
test-long: $(READY)
	.venv/bin/python -m pytest -q -n 2 -p no:benchmark -m long
report-test: $(READY)
	@command -v chromium > /dev/null && command -v chromedriver > /dev/null || { echo "apt-get install chromium chromium-driver, then again."; exit 1; }
	.venv/bin/pip install -q -e '.[browser]' && .venv/bin/python -m pytest -q -p no:benchmark tests/report -o 'python_files=browser_*.py'
loggers-test: $(READY)
	.venv/bin/pip install -q -e '.[loggers]' && .venv/bin/python -m pytest -q -p no:benchmark tests/loggers -o 'python_files=logger_*.py'
slurm-test: $(READY)
	@command -v slurmctld > /dev/null && command -v munged > /dev/null || { echo "As root: apt-get install slurm-wlm munge, then again."; exit 1; }
	.venv/bin/python -m pytest -q -p no:benchmark tests/clusters -o 'python_files=slurm_*.py'
ray-test: $(READY)
	.venv/bin/pip install -q -e '.[ray]' && .venv/bin/python -m pytest -q -p no:benchmark tests/clusters -o 'python_files=ray_*.py'
lease-test: $(READY)
	@command -v bindfs > /dev/null && [ "$$(id -u)" = 0 ] || { echo "As root: apt-get install bindfs iproute2, then again."; exit 1; }
	.venv/bin/python -m pytest -q -p no:benchmark tests/clusters -o 'python_files=lease_*.py'
gpu: $(READY)
	.venv/bin/python -m pytest -q -p no:benchmark tests/gpu
	.venv/bin/python -m pytest -q benchmarks/gpu_speed.py -o 'python_files=gpu_*.py' --report docs/performance-gpu.md
bench: $(READY)
	.venv/bin/pip install -q -e '.[peers]' && .venv/bin/python -m pytest -q benchmarks -o 'python_files=bench_*.py' --benchmark-sort=name --report docs/performance.md
fuzz: $(READY)
	.venv/bin/pip install -q -e '.[fuzz]' && .venv/bin/python tests/fuzzing/fuzz.py
torture: $(READY)
	OMP_NUM_THREADS=1 .venv/bin/python tests/torture/torture.py --kills 50 --grids 2 --page docs/reliability.md
reference: $(READY)
	.venv/bin/python docs/make_reference.py
examples-test: $(READY)
	.venv/bin/python -m pytest -q -p no:benchmark tests/test_examples.py tests/registry/test_scaffold.py
methods-page: $(READY)
	.venv/bin/python docs/make_methods.py
sample-report: $(READY)
	.venv/bin/bench report --results results/cifar10 -o docs/sample-report.html
method-costs: $(READY)
	.venv/bin/python -m pytest -q benchmarks/bench_methods.py -k costs --method-costs benchmarks/method_costs.json
lint: $(READY)
	.venv/bin/ruff check . && .venv/bin/ruff format --check .
types: $(READY)
	.venv/bin/mypy
clean:
	rm -rf .venv .fuzz demo build *.egg-info .mypy_cache .pytest_cache .ruff_cache .benchmarks
$(READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && touch $@

.PHONY: demo test test-long report-test loggers-test slurm-test ray-test bench gpu methods-page sample-report method-costs lint types clean lease-test fuzz torture reference examples-test
