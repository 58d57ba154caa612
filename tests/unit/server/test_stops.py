"""What a server's events say of stops: whether somebody asked for one."""

from __future__ import annotations

import json

import pytest

from hotplugd.model.values import InstanceName
from hotplugd.server.events import Lifecycle, meaning

C1 = InstanceName("default", "c1")
ROOT = {"username": "root", "protocol": "unix", "address": "@"}


@pytest.mark.parametrize(
    ("requestor", "asked"),
    [
        # LXD 5.0 and Incus, of what the init did by itself; LXD 6.
        (None, False),
        ({"username": "", "protocol": "", "address": ""}, False),
        (ROOT, True),
        # No server says so.
        ("root", False),
        ([1], False),
    ],
)
def test_a_shutdown_that_somebody_asked_for_has_a_requestor(requestor: object, asked: bool) -> None:
    about = {"action": "instance-shutdown", "source": "/1.0/instances/c1", "requestor": requestor}
    event = json.dumps({"type": "lifecycle", "metadata": about})
    assert meaning(event) == [Lifecycle("instance-shutdown", C1, asked=asked)]
