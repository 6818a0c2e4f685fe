# `make demo` and `make test` need only Python 3.10+; `make help` lists all targets.
PYTHON ?= python3
PY := .venv/bin/python
READY := .venv/ready
DEMO := work_dirs/demo
STREETS := data/toy_streets
CONFIG := configs/fastscnn/fast_scnn_toy_streets.py

.PHONY: help demo test test-latest docs clean
help:
	@echo 'make demo         install; train on generated streets, evaluate, draw'
	@echo 'make test         install, Triton and runtimes included (1.8 GB more); lint, run all tests'
	@echo 'make test-latest  run the tests with the newest torch and torchvision (5 GB)'
	@echo 'make docs         build the pages of docs/ as a site in work_dirs/site'
	@echo 'make clean        remove environments, generated data and results'

# The environment is made again when one of these files changes.
$(READY): requirements.txt setup.py
	@echo 'Installing into .venv: about 1 GB, some minutes ...'
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(READY)

demo: $(READY)
	$(PY) tools/make_toy_streets.py $(STREETS)
	$(PY) tools/train.py $(CONFIG) --work-dir $(DEMO) --seed 0 --overwrite
	$(PY) tools/test.py $(CONFIG) "$$(cat $(DEMO)/last_checkpoint)" \
	  --work-dir $(DEMO)/single_scale
	$(PY) tools/test.py $(CONFIG) "$$(cat $(DEMO)/last_checkpoint)" \
	  --work-dir $(DEMO)/ms_flip --tta --show-dir $(DEMO)/pictures
	@echo 'The first 3 of 40 pictures (image | truth | prediction):'
	@find $(DEMO)/pictures -name '*.png' | sort | head -n 3

# The tests need runtimes of exported files and Triton's interpreter. CUDA builds of torch bring it, CPU builds do not.
# Four processes on two cores: many tests wait, for kills and time limits.
test: $(READY)
	$(PY) -m pip install --quiet --disable-pip-version-check \
	  'triton; platform_system == "Linux"' -r tests/requirements.txt
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	@command -v chromium > /dev/null || echo 'No chromium: the demo is not tested in a browser.'
	OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses 4 --dist worksteal

test-latest:
	$(PYTHON) -m venv .venv-latest
	.venv-latest/bin/python -m pip install --disable-pip-version-check --upgrade \
	  torch torchvision pytest pytest-xdist
	.venv-latest/bin/python -m pip install --disable-pip-version-check --editable .
	OMP_NUM_THREADS=1 .venv-latest/bin/python -m pytest --numprocesses 2

docs:
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r docs/requirements.txt
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

clean:
	rm -rf .venv .venv-latest .venv-docs $(STREETS) $(DEMO) build *.egg-info
