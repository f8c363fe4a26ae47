"""Room for large messages in Fast DDS's memory and sockets. To be made before rclpy.init()."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from pathlib import Path

from dpt_ros.config import share_folder

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Since Fast DDS 3 (Kilted), and before."""
_USERS_OWN = (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Fast DDS keeps its segments
_NEEDED_BYTES = 2 * 32 * 2**20


def widen_shared_memory() -> bool:
    """Give this process and those it starts config/fastdds.xml, unless the user chose otherwise.

    Returns:
        Whether it was done; not with another middleware, nor where little shared memory is left
        (a container has 64 MB by default).
    """
    if os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") != "rmw_fastrtps_cpp":
        return False
    if any(os.environ.get(name) for name in _USERS_OWN):
        return False
    profile = share_folder() / "config" / "fastdds.xml"
    if not profile.is_file() or not _SHARED_MEMORY.is_dir():
        return False
    if shutil.disk_usage(_SHARED_MEMORY).free < _NEEDED_BYTES:
        return False
    os.environ[PROFILE_VARIABLES[_is_before_fast_dds_3()]] = str(profile)
    return True


def _is_before_fast_dds_3() -> bool:
    if distribution := os.environ.get("ROS_DISTRO"):
        return distribution in ("humble", "iron", "jazzy")
    try:  # ROS 2 as wheels
        importlib.metadata.version("ros-fastrtps")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
