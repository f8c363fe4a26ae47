"""What is said where two ends do not fit; whether it is noticed is tested with the node."""

from __future__ import annotations

import pytest

from dpt_ros.ros.qos import (
    input_profile,
    output_profile,
    overriding_options,
    publisher_mismatch,
    subscription_mismatch,
)


def test_the_advice_names_parameters_that_there_are() -> None:
    told = publisher_mismatch("/dpt/points", "durability", output_profile())
    assert "subscribe with durability volatile" in told
    assert (
        "start the node with the parameter qos_overrides./dpt/points.publisher.durability" in told
    )
    assert "DURABILITY" in [kind.name for kind in overriding_options().policy_kinds]
    told = subscription_mismatch("/image", "reliability", input_profile())
    assert "qos_overrides./image.subscription.reliability set to best_effort" in told


@pytest.mark.parametrize("policy", ["deadline", "liveliness"])
def test_what_no_parameter_changes_is_not_advised(policy: str) -> None:
    assert "qos_overrides" not in publisher_mismatch("/dpt/points", policy, output_profile())
    assert "qos_overrides" not in subscription_mismatch("/image", policy, input_profile())
