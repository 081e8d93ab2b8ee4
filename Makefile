# Every task first makes its environment (tools/env.py); the second time that takes no time.
PYTHON ?= python3
TASK = $(PYTHON) tools/env.py

.DEFAULT_GOAL := help
.PHONY: help lecture test slides pages notebooks figures results lint lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

lecture:  ## set everything up, render the slides, open JupyterLab
	@$(TASK) lecture

test:  ## set everything up and run every test
	@$(TASK) test

slides:  ## HTML, PDF and PPTX of every deck, and the whole lecture as one PDF
	@$(TASK) slides

pages:  ## every notebook as a static page, sliders alive
	@$(TASK) pages

notebooks:  ## execute the notebooks in place (ONLY=03a for some, SEED=1 for another seed)
	@$(TASK) notebooks $(ONLY)

figures:  ## draw again the figures whose notebook has changed
	@$(TASK) figures

results:  ## write the results table of the README from results/
	@$(TASK) results

lint:  ## ruff over code and notebooks
	@$(TASK) lint

lock:  ## write requirements.txt from pyproject.toml
	@$(TASK) lock

clean:  ## delete what can be made again
	@rm -rf build
