"""Which entries are to blame where an instance could not be started."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hotplugd.model.values import Entry, InstanceName
from hotplugd.reconcile.failed_starts import FailedStarts
from hotplugd.server.events import START_FAILED, Lifecycle, meaning
from tests.support.devices import BOX, box, console, entry, interface, nic_entry

NIC, OTHER = nic_entry(interface()), nic_entry(interface(2))
NODE = entry(console())
STOPPED = box([NIC, OTHER, NODE], running=False)
EMPTY = box([NODE], running=False)
RUNNING = box([NIC, OTHER, NODE])
NAMED = f'Failed to start device "{NIC.name}": no such parent'
UNNAMED = "Failed to run: lxd forkstart box: exit status 1"


def after(*what: object) -> set[str]:
    """The entries that are barred after these failures, each a reason, and instances that were learned."""
    starts = FailedStarts()
    for number, each in enumerate(what):
        if isinstance(each, str):
            starts.failed(each, str(number))
        else:
            starts.learned(each)  # type: ignore[arg-type]
    return set(starts.barred)


def test_the_one_that_is_named_is_to_blame() -> None:
    assert after(STOPPED, NAMED, STOPPED) == {NIC.name}
    assert after(STOPPED, f'device "{NODE.name}" is there', STOPPED) == {NODE.name}


def test_where_none_is_named_all_are_that_have_to_be_there() -> None:
    assert after(STOPPED, UNNAMED, STOPPED) == {NIC.name, OTHER.name}
    pci = Entry("hp-00000000000000ff", {**NODE.config, "type": "pci"})
    gpu = Entry("hp-00000000000000fe", {**NODE.config, "type": "gpu"})
    assert after(UNNAMED, box([pci, gpu, NODE], running=False)) == {pci.name, gpu.name}


def test_another_that_is_named_is_nobodys_business() -> None:
    assert after(STOPPED, 'Failed to start device "eth0": gone', STOPPED) == set()
    theirs = Entry("hp-00000000000000ff", {"type": "nic"})
    assert after(UNNAMED, box([theirs], running=False)) == set()


def test_who_is_not_to_blame_comes_in_again() -> None:
    assert after(UNNAMED, STOPPED, UNNAMED, EMPTY) == set()
    assert after(UNNAMED, STOPPED, UNNAMED, EMPTY, UNNAMED, STOPPED) == set()
    assert after(UNNAMED, STOPPED, UNNAMED, EMPTY, RUNNING, UNNAMED, STOPPED) == {NIC.name, OTHER.name}
    # Of what was named so much is known.
    assert after(NAMED, STOPPED, UNNAMED, EMPTY) == {NIC.name}


def test_an_answer_that_may_be_older_does_not_count() -> None:
    assert after(UNNAMED, RUNNING, STOPPED) == {NIC.name, OTHER.name}
    assert after(UNNAMED, RUNNING, RUNNING, RUNNING, STOPPED) == set()


def test_the_same_failure_is_told_of_twice() -> None:
    starts = FailedStarts()
    for instance in (STOPPED, EMPTY):
        starts.failed(UNNAMED, "one")
        starts.learned(instance)
    assert set(starts.barred) == {NIC.name, OTHER.name}


def test_a_new_instance_of_the_name_and_new_rules_know_nothing_of_it() -> None:
    assert after(UNNAMED, STOPPED, None, STOPPED) == set()
    starts = FailedStarts()
    starts.failed(UNNAMED, "one")
    starts.learned(STOPPED)
    starts.forget()
    assert starts.barred == {}


def test_why_tells_what_the_server_said_and_what_to_do() -> None:
    starts = FailedStarts()
    starts.failed(NAMED, "one")
    starts.learned(STOPPED)
    (why,) = [each.why for each in starts.barred.values()]
    assert NAMED in why
    assert "set the device up on the host first" in why


def event(**changes: Any) -> str:
    operation = {
        "id": "0-1",
        "description": "Starting instance",
        "status": "Failure",
        "status_code": 400,
        "resources": {"containers": ["/1.0/containers/box"], "instances": ["/1.0/instances/box?project=p"]},
        "err": NAMED,
    }
    return json.dumps({"type": "operation", "metadata": operation | changes})


def test_a_start_that_failed_is_heard_of() -> None:
    found = meaning(event(resources={"instances": ["/1.0/instances/box"]}))
    assert found == [Lifecycle(START_FAILED, BOX, NAMED, "0-1")]
    again = meaning(
        event(description="Restarting instance", resources={"instances": ["/1.0/instances/a?project=p"]})
    )
    assert [each.name for each in again] == [InstanceName("p", "a")]


@pytest.mark.parametrize(
    "changes",
    [
        {"status_code": 200},
        {"status_code": 103},
        {"description": "Stopping instance"},
        {"description": 7},
        {"err": 'Instance is busy running a "start" operation'},
        {"resources": None},
        {"resources": {"instances": ["/1.0/instances/../x"]}},
        {"resources": {"instances": [7, None, "", "/1.0/images/box"]}},
        {"resources": {"networks": ["/1.0/networks/box"]}},
    ],
)
def test_what_is_no_failed_start_of_an_instance_is_nothing(changes: dict[str, Any]) -> None:
    assert meaning(event(**changes)) == []
