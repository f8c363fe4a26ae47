"""Fixed transforms that people write down, in a YAML file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dpt_ros.bags.transforms import Matrices, bare_frame
from dpt_ros.config import ConfigError, load_yaml, unknown_key_message

_LENGTHS = {"translation_m": 3, "rotation_xyzw": 4, "rotation_rpy_rad": 3}
_ROTATIONS = ("rotation_xyzw", "rotation_rpy_rad", "matrix")
_LEAST_NORM = 1e-3
"""A shorter quaternion is no rotation that was rounded."""


def read_transforms(path: str | Path) -> Iterator[tuple[str, str, Matrices]]:
    """Fixed transforms from a YAML file: parent, child and transform_parent_child [4, 4].

        transforms:
          - {parent: base_link, child: velodyne, translation_m: [0, 0, 1.2],
             rotation_xyzw: [0, 0, 0, 1]}
          - {parent: base_link, child: camera, translation_m: [0.3, 0, 1],
             rotation_rpy_rad: [-1.5708, 0, -1.5708]}
          - {parent: velodyne, child: camera, matrix: [[...], [...], [...], [0, 0, 0, 1]]}

    A matrix and a rotation with translation take a point of the child to the parent; roll, pitch
    and yaw are about the parent's fixed axes x, y, z, as in URDF.

    Raises:
        ConfigError: the file can't be read, or holds something else.
    """
    content = load_yaml(path)
    items = content.get("transforms")
    if not isinstance(items, list) or len(content) != 1:
        raise ConfigError(f"{path}: expected one key, transforms, with a list")
    for index, item in enumerate(items):
        where = f"{path}: transforms[{index}]"
        if not isinstance(item, dict):
            raise ConfigError(f"{where}: got {item!r}, expected parent, child and numbers")
        known = (*_LENGTHS, "parent", "child", "matrix")
        for key in item:
            if key not in known:
                raise ConfigError(f"{where}: {unknown_key_message(str(key), known)}")
        parent, child = item.get("parent"), item.get("child")
        if not (isinstance(parent, str) and isinstance(child, str) and parent and child):
            raise ConfigError(f"{where}: got {parent!r} and {child!r}, expected parent and child")
        if bare_frame(parent) == bare_frame(child):
            raise ConfigError(f"{where}: got {parent!r} as parent and child, expected two frames")
        yield bare_frame(parent), bare_frame(child), _matrix(item, where)


def _matrix(item: dict[str, Any], where: str) -> Matrices:
    """[4, 4], of the one form of rotation that an entry has."""
    given = [key for key in _ROTATIONS if item.get(key) is not None]
    if len(given) != 1:
        got = f"got {' and '.join(given)}, " if given else ""
        *others, last = _ROTATIONS
        which = "only one of " if given else ""
        raise ConfigError(f"{where}: {got}expected {which}{', '.join(others)} or {last}")
    if given == ["matrix"]:
        if item.get("translation_m") is not None:
            raise ConfigError(
                f"{where}: got matrix and translation_m, expected one: a matrix has its own "
                "translation"
            )
        return _matrix_of_rows(item, where)
    turn = _numbers(item, given[0], where)
    if given == ["rotation_rpy_rad"]:
        rotation = Rotation.from_euler("xyz", turn)
    elif np.linalg.norm(turn) > _LEAST_NORM:
        rotation = Rotation.from_quat(turn)
    else:
        raise ConfigError(
            f"{where}: got rotation_xyzw {item['rotation_xyzw']!r}, expected rotation_xyzw of "
            "length 1: 0 0 0 1 turns nothing"
        )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.as_matrix()
    if item.get("translation_m") is not None:
        matrix[:3, 3] = _numbers(item, "translation_m", where)
    return matrix


def _matrix_of_rows(item: dict[str, Any], where: str) -> Matrices:
    try:
        matrix = np.array(item["matrix"], np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    rotation = matrix[:3, :3] if matrix.shape == (4, 4) else np.zeros((3, 3))
    is_rigid = np.isfinite(matrix).all() and np.allclose(
        rotation @ rotation.T, np.eye(3), atol=1e-4
    )
    if not is_rigid or np.linalg.det(rotation) < 0 or (matrix[3] != (0, 0, 0, 1)).any():
        raise ConfigError(
            f"{where}: matrix: got {item['matrix']!r}, expected 4 rows of 4 numbers: a "
            "rotation, a translation, and 0 0 0 1"
        )
    return matrix


def _numbers(item: dict[str, Any], key: str, where: str) -> NDArray[np.float64]:
    """The value of a key: as many finite numbers as it takes."""
    numbers, count = item[key], _LENGTHS[key]
    is_list = isinstance(numbers, list) and len(numbers) == count
    if is_list and all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers):
        values = np.array([float(n) for n in numbers])
        if np.isfinite(values).all():
            return values
    raise ConfigError(f"{where}: {key}: got {numbers!r}, expected {count} numbers")
