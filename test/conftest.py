"""What tests of several layers share."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def recordings():
    """The module `recordings.py` beside this file: it makes messages and writes small bags."""
    path = Path(__file__).with_name("recordings.py")
    spec = importlib.util.spec_from_file_location("recordings", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
