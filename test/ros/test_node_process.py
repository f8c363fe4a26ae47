from __future__ import annotations

import os

import pytest

from dpt_ros.ros import node_process
from dpt_ros.ros.node_process import NodeError, free_domain, isolate


@pytest.mark.node
def test_a_domain_with_a_node_in_it_is_not_free(ros_environment, peer, monkeypatch):
    used = int(ros_environment["ROS_DOMAIN_ID"])
    monkeypatch.setattr(node_process, "DOMAINS", [used])
    with pytest.raises(NodeError, match=f"from {used} to {used} are in use"):
        free_domain()


def test_a_run_gets_a_domain_of_its_own_unless_one_is_set(monkeypatch):
    monkeypatch.setattr(os, "environ", {"ROS_DOMAIN_ID": "42"})
    isolate()
    assert os.environ["ROS_DOMAIN_ID"] == "42"
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(node_process, "DOMAINS", [free_domain()])
    isolate()
    assert os.environ["ROS_DOMAIN_ID"] == str(node_process.DOMAINS[0])
