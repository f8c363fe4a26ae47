# Sets up a virtual environment by itself, then runs. `make help` lists the targets.
#
#   make test                     ROS 2 Kilted, as wheels from PyPI
#   ROS_DISTRO=jazzy make test    ROS 2 Jazzy, likewise
#   source /opt/ros/*/setup.bash; make test     the ROS 2 that is installed
SHELL := /bin/bash
PYTHON ?= python3
UV_VERSION := 0.13.9

ifneq ($(AMENT_PREFIX_PATH),)
  ROS := sourced
else
  ROS := $(or $(ROS_DISTRO),kilted)
endif

VENV := $(if $(filter kilted,$(ROS)),.venv,.venv-$(ROS))
READY := $(VENV)/.ready
PIP := $(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python
ROS_REQUIREMENTS := $(if $(filter sourced,$(ROS)),,requirements/ros-$(ROS).txt)
RUN := $(VENV)/bin/

.PHONY: help setup test test-node lint format demo tiny colcon lock clean

help:  ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## Make the virtual environment with everything in it (5 GB: torch brings CUDA).

$(READY): requirements/core.txt $(ROS_REQUIREMENTS) setup.py setup.cfg resource/depth_node resource/evaluator_node
	@echo "Setting up $(VENV) with ROS 2 $(ROS) (a few minutes the first time)"
	@$(PYTHON) -m venv $(if $(filter sourced,$(ROS)),--system-site-packages) $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(PIP) -r requirements/core.txt $(addprefix -r ,$(ROS_REQUIREMENTS))
	@$(PIP) --no-deps --editable .
	@touch $@

# The node's tests have the machine to themselves: they wait for processes. Of what ARGS chooses, one of
# the two may hold nothing, which pytest says by 5.
ONE_CORE_EACH := OMP_NUM_THREADS=1 $(RUN)python -m pytest -m "not node" --numprocesses auto

test: $(READY)  ## Run all tests.
	$(ONE_CORE_EACH) $(ARGS) $(if $(ARGS),|| test $$? -eq 5)
	$(RUN)python -m pytest -m node $(ARGS) $(if $(ARGS),|| test $$? -eq 5)

test-node: $(READY)  ## Run the node's tests only.
	$(RUN)python -m pytest -m node $(ARGS)

lint: $(READY)  ## Check format, rules and types.
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy dpt_ros

format: $(READY)  ## Format the code and mend what can be mended.
	$(RUN)ruff format .
	$(RUN)ruff check --fix .

demo: $(READY)  ## A synthetic robot, or your pictures: make demo [INPUT=folder|video|bag] [ARGS="--model dpt_large"]
	$(RUN)dpt-ros demo $(INPUT) $(ARGS)

WORLD := $(RUN)dpt-ros synthetic dataset --jobs 2
LEARN := --scenes 1500 --frames-per-scene 3 --size 256x192 --camera-size 640x480
WORLDS := 0 1 2 3 4 5 6 7
OUTDOORS := yard_8 yard_9 street_8 street_9
TRAIN := $(RUN)dpt-ros train --validation runs/judge --mode metric --loss.gradient 0.5 --loss.ssi 0.5 --beta2 0.99 \
	--validation-samples 64 --mixed-precision bfloat16
PLAIN := --augment.brightness 0 --augment.contrast 0 --augment.saturation 0 --augment.hue 0 --augment.gamma 0 \
	--augment.noise 0 --augment.blur 0
LAST := --size 256x192 --batch-size 8 --average 0.9975 --backbone-lr 3e-4 --decoder-lr 3e-4 --warmup-steps 100 \
	--final-lr 0.01 $(PLAIN)
TINY := models/dpt_tiny

tiny: $(READY)  ## Make the bundled model again: render, train, fit (four to eight hours on two cores).
	$(WORLD) --out runs/judge --split validation --scenes 48 --frames-per-scene 3 --size 640x480
	for seed in $(WORLDS); do $(WORLD) --out runs/world_$$seed --split train --seed $$seed $(LEARN) || exit 1; done
	for place in $(OUTDOORS); do $(WORLD) --out runs/world_$$place --split train --kind $${place%_*} \
	  --seed $${place#*_} $(LEARN) || exit 1; done
	$(TRAIN) $(WORLDS:%=runs/world_%) --init scratch --model dpt_tiny --out runs/tiny_low --size 128x96 --steps 3600 \
	  --average 0.995 --backbone-lr 6e-4 --decoder-lr 6e-4 --warmup-steps 200 --final-lr 0.2
	$(TRAIN) $(WORLDS:%=runs/world_%) --init runs/tiny_low/model.safetensors --out runs/tiny_middle --size 192x144 \
	  --steps 3000 --average 0.995 --backbone-lr 5e-4 --decoder-lr 5e-4 --warmup-steps 50 --final-lr 0.2
	$(TRAIN) $(WORLDS:%=runs/world_%) --init runs/tiny_middle/model.safetensors --out runs/tiny_high --steps 6800 $(LAST)
	$(TRAIN) $(OUTDOORS:%=runs/world_%) runs/world_0 runs/world_1 runs/world_2 runs/world_3 \
	  --init runs/tiny_high/model.safetensors --out runs/tiny --steps 11000 $(LAST)
	$(RUN)dpt-ros models convert runs/tiny/model.safetensors $(TINY).safetensors --half --card $(TINY).yaml --force
	sed -i "s/^sha256: .*/sha256: '$$(sha256sum $(TINY).safetensors | cut -c1-64)'/" $(TINY).yaml
	$(RUN)dpt-ros fit runs/judge --model dpt_tiny --precision float32 --out $(TINY).calibration.yaml --report runs/tiny/fit.html

colcon: $(READY)  ## Build and test the package in a colcon workspace of its own (build/colcon).
	.ci/colcon $(abspath $(VENV))

lock: $(READY)  ## Pin the requirements anew from requirements/*.in.
	cd requirements && for name in core ros-kilted ros-jazzy; do \
	  ../$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.10 \
	    $$([ $$name = core ] && echo core.in dev.in || echo $$name.in -c core.txt) -o $$name.txt; done

clean:  ## Remove everything that is made here.
	rm -rf .venv .venv-* build install log demo_output *.egg-info
