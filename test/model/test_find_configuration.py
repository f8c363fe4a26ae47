"""Which network a checkpoint is for, found from its tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_checkpoints import isl_org_state, write_folder

from dpt_ros.model.checkpoints import CheckpointError, find_configuration
from dpt_ros.model.dpt import create_model


@pytest.mark.parametrize("readout", ["ignore", "project"])
def test_find_configuration_of_a_bare_state_dict(tmp_path: Path, readout: str) -> None:
    path = tmp_path / "tiny.pt"
    with torch.device("meta"):
        shapes = create_model("dpt_tiny", readout=readout).state_dict()
    torch.save({key: torch.zeros(value.shape).half() for key, value in shapes.items()}, path)
    found = find_configuration(path)
    assert (found.name, found.readout) == ("dpt_tiny", readout)


def test_find_configuration_of_an_unknown_structure(tmp_path: Path) -> None:
    torch.save(isl_org_state(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"is for none of dpt_base, dpt_large"):
        find_configuration(tmp_path / "net.pt")


def test_find_configuration_with_a_readout_that_there_is_not(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = create_model("dpt_tiny").state_dict()
    state = {key: torch.zeros(value.shape).half() for key, value in shapes.items()}
    folder = write_folder(tmp_path / "dpt", state, "bin", {"readout_type": None})
    with pytest.raises(CheckpointError, match=r"readout_type None, expected one of ignore, add"):
        find_configuration(folder)
