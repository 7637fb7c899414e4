# Two commands matter: `make lab` opens the lessons, `make test` runs every test. Both set up .venv on first use.
# Options: PYTHON=/path/to/python3.11  SUBMISSIONS=folder  MARKS=sheet.csv  COURSE=2027  LAB_ARGS="--port 9000"  PYTEST_ARGS="-k filters"  VIZHELPERS_CACHE=/shared/folder
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?=
LAB_ARGS ?=
PYTEST_ARGS ?=
SUBMISSIONS ?=
MARKS ?=
COURSE ?=
COURSE_ARGS = $(if $(COURSE),--course $(COURSE))
CANDIDATES := $(or $(PYTHON),python3.11 python3 python3.12 python3.13 python3.14 python)
VENV := .venv
PY := $(VENV)/bin/python
START := notebooks/00_start_here.ipynb
WITH_SITE := .[test,site]# a comma in a call would begin its next argument
# A stamp is named after what it depends on (content and place, not file times), so that a fresh checkout of the same
# pins installs nothing anew and a changed pin does.
KEY := $(shell { cat pyproject.toml constraints.txt; pwd; } | cksum | cut -d ' ' -f 1)
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport MPLBACKEND # the lessons' kernels choose the inline backend only where nobody chose another

# $(1): requirement for pip, $(2): stamps to leave. The lock lets `make lab` and `make test` start side by side.
define install
	@set -eu; say() { echo "$$*" >&2; }; mkdir -p build; \
	exec 9>build/.setup.lock; if command -v flock >/dev/null 2>&1; then flock 9; fi; \
	if [ -e "$@" ]; then exit 0; fi; \
	usable='import sys, pip; sys.exit(sys.version_info < (3, 11))'; \
	if ! $(PY) -c "$$usable" 2>/dev/null; then \
		found=; bare=; \
		for p in $(CANDIDATES); do \
			"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
			if "$$p" -c 'import ensurepip, venv' 2>/dev/null; then found=$$p; break; else bare=$$p; fi; \
		done; \
		if [ -z "$$found$$bare" ]; then \
			say "No Python 3.11 or later was found (tried: $(CANDIDATES)): install one, or name it with PYTHON=/path/to/python3."; exit 1; fi; \
		if [ -z "$$found" ]; then \
			say "$$bare cannot make a virtual environment with pip: install its venv package (on Debian: apt install python3-venv)."; exit 1; fi; \
		echo "Making $(VENV) with $$("$$found" --version)"; \
		"$$found" -m venv --clear $(VENV) || { rm -rf $(VENV); say "The virtual environment $(VENV) could not be made: see the message above."; exit 1; }; \
	fi; \
	echo "Installing the pinned packages into $(VENV) (about 1.3 GB; a minute or two)"; \
	quiet=--quiet; if [ -t 1 ]; then quiet=; fi; \
	$(PY) -m pip install $$quiet -c constraints.txt -e '$(1)' || { say "Installing failed: see pip's message above, check the network, then run the same command again."; exit 1; }; \
	rm -f $(VENV)/.stamp-lab-* $(VENV)/.stamp-test-* $(VENV)/.stamp-site-*; touch $(2)
endef

.PHONY: help lab lab-setup test test-setup test-environment test-oldest lessons lessons-three-ways site open assignments course grade grade-check bench faults clean weights browser

help: ## list the targets (this text)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' Makefile

lab: lab-setup ## set up what is missing and open the lessons in JupyterLab
	@[ -f $(START) ] || { echo "$(START) is missing: run this in a complete copy of the repository." >&2; exit 1; }
	@set --; if [ "$$(id -u)" = 0 ]; then set -- --allow-root; fi; \
	if [ "$$(uname)" = Linux ] && [ -z "$${DISPLAY:-}$${WAYLAND_DISPLAY:-}$${BROWSER:-}$${WSL_DISTRO_NAME:-}" ]; then \
		echo "No screen here: open the URL that JupyterLab prints below in a browser."; set -- "$$@" --no-browser; fi; \
	exec $(PY) -m jupyterlab --ServerApp.root_dir="$$PWD" --LabApp.default_url=/lab/tree/$(START) --LabApp.news_url=None \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
		--ServerApp.tornado_settings='{"websocket_max_message_size": 67108864}' "$$@" $(LAB_ARGS)

lab-setup: $(VENV)/.stamp-lab-$(KEY) weights ## the set-up of make lab alone

# One thread each: two test processes with two torch threads each need 1.5 to 2 times as long on two cores. The browser
# tests mostly wait, so they run beside them; 5 is pytest's word for "none of these was asked for" (PYTEST_ARGS).
test: test-setup browser ## set up what is missing and run every test
	@failed=0; mkdir -p build; $(PY) -m ruff check . || failed=1; export OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1}; \
	$(PY) -m pytest tests/browser $(PYTEST_ARGS) >build/browser.log 2>&1 & trap "kill $$! 2>/dev/null" EXIT INT TERM; \
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --nbval-lax --nbval-cell-timeout=180 --ignore tests/browser notebooks tests $(PYTEST_ARGS) || failed=1; \
	wait $$! || [ $$? = 5 ] || failed=1; trap - EXIT; cat build/browser.log; \
	exit $$failed

test-setup: $(VENV)/.stamp-test-$(KEY) weights ## the set-up of make test alone

lessons: test-setup ## execute every lesson and write it as HTML to build/lessons/
	@$(PY) tests/run_lessons.py

lessons-three-ways: test-setup ## execute every lesson as it is, with AVX2 only and on one thread; compare the asserts' numbers (half an hour)
	@$(PY) tests/assert_numbers.py

site: $(VENV)/.stamp-site-$(KEY) weights ## execute the lessons and build their site, with pictures, search and API pages, in build/site
	@$(PY) site/build.py

open: test-setup ## badges and a first cell for Colab and Kaggle in every lesson: make open ADDRESS=https://host/owner/name
	@$(PY) site/open.py "$(ADDRESS)"

assignments: test-setup ## student versions of A1 to A4, without solutions and hidden tests, in build/course/release
	@$(PY) tests/grade.py assignments $(COURSE_ARGS)

course: test-setup ## build/course.zip, all that students get: the committed files without answers, the student versions
	@$(PY) tests/grade.py course $(COURSE_ARGS)

grade: test-setup ## grade hand-ins: SUBMISSIONS=folder or zip [MARKS=sheet.csv] [COURSE=2027]; build/grades.csv, feedback
	@$(PY) tests/grade.py grade $(SUBMISSIONS) $(if $(MARKS),--marks $(MARKS)) $(COURSE_ARGS)

grade-check: test-setup ## grade 15 kinds of hand-ins of each assignment: designed and actual points (15 minutes)
	@$(PY) tests/assignments/kinds.py

bench: test-setup ## run the benchmarks, one after another
	@failed=0; for f in tests/benchmarks/*.py; do echo "== $$f"; $(PY) "$$f" || failed=1; done; exit $$failed

faults: test-setup ## 4,000 wrong calls of the public functions: which errors nobody has put into words
	@$(PY) tests/faults.py

test-environment: test-setup ## install the pip part of environment.yml into a fresh build/environment, torch first as conda does (two minutes)
	@set -e; $(PY) -m venv --clear build/environment; $(PY) tests/test_environment.py > build/environment/requirements.txt; \
	build/environment/bin/python -m pip install --quiet -c constraints.txt torch torchvision; \
	build/environment/bin/python -m pip install --quiet -r build/environment/requirements.txt; \
	build/environment/bin/python -m pip check; cd build; environment/bin/python -c 'import vizhelpers; print(vizhelpers.__file__)'

test-oldest: test-setup ## every lesson with the lowest versions that pyproject.toml allows, in build/oldest (5 GB, half an hour)
	@set -e; $(PY) -m venv --clear build/oldest; $(PY) tests/test_environment.py oldest > build/oldest/requirements.txt; \
	build/oldest/bin/python -m pip install --quiet -r build/oldest/requirements.txt pytest nbval; \
	PYTHONPATH=. build/oldest/bin/python -m pytest -q --nbval-lax --nbval-cell-timeout=900 notebooks/[0-9]*.ipynb

clean: ## remove what the targets made, except .venv and the weights
	@rm -rf build .ruff_cache .pytest_cache; find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(VENV)/.stamp-lab-$(KEY):
	$(call install,.,$@)

$(VENV)/.stamp-test-$(KEY):
	$(call install,.[test],$(VENV)/.stamp-lab-$(KEY) $@)

$(VENV)/.stamp-site-$(KEY):
	$(call install,$(WITH_SITE),$(VENV)/.stamp-lab-$(KEY) $(VENV)/.stamp-test-$(KEY) $@)

# The check itself needs seconds (importing torch), so it is left out while the files look as they did after the last
# one; the package verifies a file's hash again when it loads it.
weights: | $(VENV)/.stamp-lab-$(KEY)
	@folder=$$($(PY) -c 'import os, platformdirs as p; print(os.path.expanduser(os.environ.get("VIZHELPERS_CACHE") or p.user_cache_dir("vizhelpers")))') && \
	if ! ls -lL "$$folder"/*.safetensors 2>/dev/null | cmp -s - $(VENV)/.stamp-weights-$(KEY); then \
		$(PY) -m vizhelpers.weights --fetch all || exit 1; \
		ls -lL "$$folder"/*.safetensors > $(VENV)/.stamp-weights-$(KEY); \
	fi

# Only root on a Debian-like system can be served; elsewhere the browser test says why it is skipped.
browser: | test-setup
	@for b in $(BROWSERS); do if command -v $$b >/dev/null; then exit 0; fi; done; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then exit 0; fi; \
	if [ -e $(VENV)/.stamp-no-browser ]; then echo "Chromium could not be installed before (see build/apt.log); remove $(VENV)/.stamp-no-browser to try again."; exit 0; fi; \
	echo "Installing Chromium for the browser test"; \
	{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fonts-dejavu-core; } \
		>build/apt.log 2>&1 </dev/null || { touch $(VENV)/.stamp-no-browser; echo "Chromium could not be installed (see build/apt.log): the browser test will be skipped."; }
