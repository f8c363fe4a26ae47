"""The node in a process of its own, for the demo, the replay and the benchmark."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from dpt_ros.ros.transport import widen_shared_memory

STOP_S = 10.0
DOMAINS = range(1, 101)
"""ROS domains that every operating system has ports for."""
_FIRST_PORT, _PORTS_PER_DOMAIN = 7400, 250
_DISCOVERY_PORTS = (0, *range(10, 30, 2))
"""Of a domain: multicast, and those of the first ten participants (DDSI-RTPS 2.2, 9.6.1.1)."""
_LAST_LINES = 5
_ACTIVE = "listening to "
"""The node says so once it is active."""


class NodeError(RuntimeError):
    """The node did not start, or ended before it was told to."""


class NodeProcess:
    """Runs `depth_node` while used as a context manager.

    It is found by processes of this machine in the same ROS domain only. Its output goes to a
    file, so that a terminal stays readable; `log()` reads it.

    Args:
        parameters: ROS parameters of the node; others keep their defaults.
        arguments: further ROS arguments, such as ("-r", "image_rect:=/camera/image_rect").
        module: what is run; another of our nodes than the depth node.
        is_node: whether it takes ROS arguments; without, `arguments` are its own.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any],
        arguments: Sequence[str] = (),
        module: str = "dpt_ros.ros.main",
        is_node: bool = True,
    ) -> None:
        self._parameters = dict(parameters)
        self._arguments = tuple(arguments)
        self._module = module
        self._is_node = is_node
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.NamedTemporaryFile(prefix="dpt_ros_node_", suffix=".log")  # noqa: SIM115

    def __enter__(self) -> NodeProcess:
        command = [sys.executable, "-m", self._module]
        command += [*(["--ros-args"] if self._is_node else []), *self._arguments]
        for name, value in self._parameters.items():
            command += ["-p", f"{name}:={_yaml(value)}"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
        )
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._log.close()

    def stop(self, timeout_s: float = STOP_S) -> int | None:
        """End the node; its exit code, or None if it had to be killed or never ran."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None

    @property
    def pid(self) -> int:
        """The process's id; 0 while it does not run."""
        return 0 if self._process is None else self._process.pid

    def has_ended(self) -> bool:
        """Whether the process is over."""
        return self._process is not None and self._process.poll() is not None

    def check(self) -> None:
        """Raise if the node has ended or could not be configured.

        Raises:
            NodeError: with what the node said.
        """
        code = None if self._process is None else self._process.poll()
        log = self.log()
        if code is not None and _ACTIVE in log:
            last = "\n".join(log.strip().splitlines()[-_LAST_LINES:])
            raise NodeError(f"the node ended with exit code {code}; its last words:\n{last}")
        if code is not None or "configure failed" in log:
            raise NodeError(f"the node did not start:\n{log.strip()}")

    def log(self) -> str:
        """What the node printed so far."""
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace")

    def resident_mib(self) -> float:
        """Memory that the process holds (resident set)."""
        if self._process is None:
            return 0.0
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def isolate() -> None:
    """Keep what this process starts apart from robots and other runs on the network.

    Sets ROS_DOMAIN_ID, unless it is set, to one that is not in use, discovery to this machine,
    and room for large messages. To be called before rclpy.init().
    """
    widen_shared_memory()
    if not os.environ.get("ROS_DOMAIN_ID"):
        os.environ["ROS_DOMAIN_ID"] = str(free_domain())
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_LOCALHOST_ONLY"] = "1"  # before Iron
    os.environ.pop("ROS_STATIC_PEERS", None)


def free_domain() -> int:
    """A ROS domain, chosen at random, whose discovery ports no process of this machine uses.

    Raises:
        NodeError: all are in use.
    """
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        first = _FIRST_PORT + _PORTS_PER_DOMAIN * domain
        if all(_is_free(first + port) for port in _DISCOVERY_PORTS):
            return domain
    raise NodeError(
        f"all ROS domains from {DOMAINS[0]} to {DOMAINS[-1]} are in use on this machine; "
        "set ROS_DOMAIN_ID to the one to share"
    )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _yaml(value: Any) -> str:
    """A parameter value as `-p name:=value` takes it: a string stays one even if it is "12"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    escaped = str(value).replace("'", "''")
    return f"'{escaped}'"
