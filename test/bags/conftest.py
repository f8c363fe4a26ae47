"""A short drive, recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from drive_samples import STAMPS


@pytest.fixture
def drive(tmp_path, recordings):
    """A bag of four pictures and scans of walls 4, 5, 6 and 7 m away."""
    messages = recordings.drive(STAMPS, [4.0, 5.0, 6.0, 7.0])
    return recordings.write_bag(tmp_path / "drive", messages)
