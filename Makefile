# Two commands on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
# Needs make, sh and Python 3.11 or newer with venv; any POSIX make will do.
.POSIX:

# Interpreters to try, in this order: `make test PYTHON=/opt/python3.12/bin/python3`
PYTHON = python3.11 python3.12 python3.13 python3

# What Qt's xcb platform and a screen in memory need on a bare Debian
SYSTEM_PACKAGES = libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 \
	libxcb-render-util0 libxcb-xinerama0 libxcb-shape0 libxkbcommon-x11-0 libdbus-1-3 \
	libgl1 libegl1 libgl1-mesa-dri xvfb xauth libfontconfig1 libglib2.0-0

BIN = .venv/bin

help:
	@echo "make demo    label, adapt, sample on a figure made on the spot; minutes, no GPU, no screen"
	@echo "make test    style, types and all tests, offline"
	@echo "make env     only the environment in .venv; demo and test make it when it is missing"
	@echo "make system  only the libraries that a window needs (Debian, Ubuntu); test asks for them"
	@echo "make prior   train the shipped prior again; needs its source poses and hours"
	@echo "make clean   remove .venv, demo/ and caches; runs/ stays"

# Threads that spin while they wait made the demo 15 times slower on a machine with other work.
demo: env
	@$(BIN)/flexpose-train demo --out demo --overwrite

test: system env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@screen=; other_screen=; \
	if command -v xvfb-run >/dev/null 2>&1; then \
		screen="xvfb-run -a"; other_screen="xvfb-run -n 199 -a"; fi; \
	echo "What needs no window, in two processes: $$screen pytest -m 'not gui'"; \
	OMP_NUM_THREADS=1 $$screen $(BIN)/python -m pytest -q -m "not gui" -n 2 --dist loadfile \
		|| exit 1; \
	echo "The window, with both Qt bindings side by side: $$screen pytest -m gui"; \
	QT_API=pyside6 PYTEST_QT_API=pyside6 $$other_screen $(BIN)/python -m pytest -q -m gui \
		--disable-warnings >.venv/pyside6.log 2>&1 & other=$$!; \
	$$screen $(BIN)/python -m pytest -q -m gui --disable-warnings; first=$$?; \
	wait $$other; second=$$?; \
	echo "PySide6:"; cat .venv/pyside6.log; \
	exit $$((first + second))

prior: env
	$(BIN)/python benchmarks/make_prior.py

env: .venv/.stamp

# pip that comes with Python 3.11 knows no dependency groups, so a newer one goes first.
.venv/.stamp: pyproject.toml constraints.txt
	@python=; \
	for candidate in $(PYTHON); do \
		if "$$candidate" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' \
			>/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Python 3.11 or newer with venv is needed and was not found among: $(PYTHON)." >&2; \
		echo "Install it (Debian: apt-get install python3-venv), or name one:" \
			"make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	echo "Installing the environment into .venv with $$python, once; this takes minutes."; \
	"$$python" -m venv .venv
	@$(BIN)/python -m pip install -qq -c constraints.txt pip hatchling editables
	@$(BIN)/python -m pip install -qq -c constraints.txt --no-build-isolation \
		-e '.[eval,formats,napari]' --group dev
	@touch .venv/.stamp

# Never fails: without these libraries the tests that need a screen are skipped.
system:
	@missing=; \
	command -v dpkg-query >/dev/null 2>&1 || { \
		echo "This is no Debian: tests that need a screen may be skipped. They need Xvfb, xauth," \
			"OpenGL and the libraries of Qt's xcb platform."; exit 0; }; \
	for package in $(SYSTEM_PACKAGES); do \
		dpkg-query -W -f '$${Status}' "$$package" 2>/dev/null | grep -q '^install ok installed' \
			|| missing="$$missing $$package"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" -ne 0 ]; then \
		echo "Tests that need a screen may be skipped. To run them, install as root:"; \
		echo "  apt-get install --no-install-recommends$$missing"; exit 0; \
	fi; \
	echo "Installing system libraries:$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	quick="-o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20"; \
	{ apt-get $$quick -qq update && \
	  apt-get $$quick -qq install -y --no-install-recommends $$missing; } >/dev/null 2>&1 || \
		echo "apt-get could not install them: tests that need a screen may be skipped."

clean:
	rm -rf .venv demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache .coverage
	find napari_flexpose src_training tests benchmarks -name __pycache__ -type d \
		-exec rm -rf {} +

.PHONY: help demo test prior env system clean
