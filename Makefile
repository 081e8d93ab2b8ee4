# Every task first makes its environment (tools/env.py); the second time that takes no time.
PYTHON ?= python3
TASK = $(PYTHON) -I tools/env.py

.DEFAULT_GOAL := help
.PHONY: help lecture test check slides pages site notebooks spread readers figures results lint lock newest clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

lecture:  ## set everything up, render the slides, open JupyterLab
	@$(TASK) lecture

test:  ## set everything up and run every test
	@$(TASK) test

check:  ## test one notebook, its page, its deck and the house rules: ONLY=03a
	@$(TASK) check $(ONLY)

slides:  ## HTML, PDF and PPTX of every deck (ONLY="03:6,11,12" cuts slides out)
	@$(TASK) slides $(ONLY)

pages:  ## every notebook as a static page, sliders alive
	@$(TASK) pages $(ONLY)

site:  ## the course for a static host, in build/site/
	@$(TASK) site

notebooks:  ## execute notebooks and store them (ONLY=03a for some, SEED=1, SEEDS=all)
	@$(TASK) notebooks $(ONLY)

spread:  ## how much room each assertion has, over SEEDS=10 (ONLY=03a for some)
	@$(TASK) spread $(ONLY)

readers:  ## train the readers that score pictures anew (utils/yardstick.py)
	@$(TASK) readers

figures:  ## draw again the figures whose notebook has changed
	@$(TASK) figures

results:  ## bring the README's map and table, and the notebooks' minutes, up to date
	@$(TASK) results

lint:  ## ruff over code and notebooks
	@$(TASK) lint

lock:  ## write requirements.txt from pyproject.toml
	@$(TASK) lock

newest:  ## lift every pinned version to the newest there is
	@$(TASK) newest

clean:  ## delete what can be made again
	@rm -rf build
