"""What is asked of a server for one update, by what it does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest
import requests
from pylxd.exceptions import LXDAPIException

from hotplugd.model.claim_texts import LEASES
from hotplugd.model.entry import written
from hotplugd.model.ports import Busy, Refused, ServerError, Unreachable
from hotplugd.model.server_traits import NO_TRAITS, ServerTraits
from hotplugd.model.values import Entry, Instance
from hotplugd.server.api import Api
from hotplugd.server.connection import Connection, failure_of
from tests.support.devices import BOX, console, entry

ONE, TWO = entry(console(1)), entry(console(2))


class Answer:
    """What a server answers with."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.headers = {"ETag": "e1"}
        self.content = b"{}"
        self._metadata = metadata

    def json(self) -> Mapping[str, Any]:
        return {"type": "sync", "metadata": self._metadata}


class Endpoint:
    """One instance of a server, which writes down what it is asked for."""

    def __init__(
        self, *entries: Entry, config: Mapping[str, str] = MappingProxyType({}), status: str = "Running"
    ) -> None:
        self.asked: list[tuple[str, Mapping[str, Any], Mapping[str, str]]] = []
        self._config, self._status = config, status
        self._devices = {each.name: written(each) for each in entries}

    def get(self, **_: Any) -> Answer:
        return Answer(
            {
                "name": BOX.name,
                "project": BOX.project,
                "status": self._status,
                "description": "mine",
                "config": {**self._config},
                "devices": self._devices,
                "expanded_devices": self._devices,
                "architecture": "x86_64",
            }
        )

    def put(self, json: Mapping[str, Any], headers: Mapping[str, str], **_: Any) -> Answer:
        self.asked.append(("PUT", json, headers))
        return Answer({})

    def patch(self, json: Mapping[str, Any], headers: Mapping[str, str], **_: Any) -> Answer:
        self.asked.append(("PATCH", json, headers))
        return Answer({})


class Operations:
    """What a server says of its operations."""

    def __init__(self, *running: object) -> None:
        self._running = running

    def get(self, params: Mapping[str, Any]) -> Answer:
        # LXD from 6.8 on tells of the operations of a bulk one with 2; to older ones and Incus that is 1.
        assert params == {"recursion": 2, "project": BOX.project}
        return Answer({"running": self._running} if self._running else {})


def api(endpoint: Endpoint, traits: ServerTraits, operations: Operations | None = None) -> Api:
    tree = SimpleNamespace(instances={BOX.name: endpoint}, operations=operations)
    made = SimpleNamespace(tree=tree, traits=traits, member=lambda _="": "", address="/s", projects=None)
    return Api(cast("Connection", made))


def test_what_goes_out_goes_by_put() -> None:
    endpoint = Endpoint(ONE)
    after = api(endpoint, NO_TRAITS).apply(BOX, [TWO], [ONE.name], None)
    ((method, body, headers),) = endpoint.asked
    assert (method, headers) == ("PUT", {"If-Match": "e1"})
    assert body["devices"] == {TWO.name: written(TWO)}
    assert body["description"] == "mine"
    assert set(after.instance.entries) == {TWO.name}


def test_what_the_server_cannot_tell_of_is_not_taken_for_stopped() -> None:
    """As LXD says it of a container whose monitor, or a machine whose QEMU, has not answered it in time
    (instance/drivers/driver_lxc.go and driver_qemu.go, `statusCode`).
    """
    endpoint = Endpoint(ONE, status="Error")
    assert not api(endpoint, NO_TRAITS).get(BOX).instance.known
    with pytest.raises(Unreachable, match="cannot tell how box is"):
        api(endpoint, NO_TRAITS).apply(BOX, [], [ONE.name], None)
    assert endpoint.asked == []


def test_where_patch_takes_out_one_patch_does_both() -> None:
    endpoint = Endpoint(ONE)
    after = api(endpoint, ServerTraits(removes_by_patch=True)).apply(BOX, [TWO], [ONE.name], None)
    ((method, body, headers),) = endpoint.asked
    assert (method, headers) == ("PATCH", {"If-Match": "e1"})
    assert body == {"description": "mine", "devices": {ONE.name: None, TWO.name: written(TWO)}}
    assert set(after.instance.entries) == {TWO.name}


@pytest.mark.parametrize("leases", ["", "[{}]"])
def test_what_the_configuration_says_of_leases_goes_along(leases: str) -> None:
    """PATCH merges the configuration; what goes out by PUT takes all of it along."""
    endpoint = Endpoint(ONE, config={"user.mine": "1", LEASES: "[]"})
    after = api(endpoint, NO_TRAITS).apply(BOX, [], [ONE.name], None, None, leases)
    ((_, body, _),) = endpoint.asked
    assert body["config"] == {"user.mine": "1"} | ({LEASES: leases} if leases else {})
    assert after.instance.leases == leases
    endpoint = Endpoint(config={LEASES: "[]"})
    api(endpoint, NO_TRAITS).apply(BOX, [], [], None, None, leases)
    ((method, body, _),) = endpoint.asked
    assert (method, body["config"], body["devices"]) == ("PATCH", {LEASES: leases}, {})


def operation(what: str, **more: object) -> dict[str, object]:
    return {"description": what, "status": "Running", "resources": {}, "metadata": None, **more}


URL = f"/1.0/instances/{BOX.name}"
STARTING, NAMED = "Starting instance", {"entity_url": f"{URL}?project=ci"}
BULK = "Updating the state of multiple instances"


@pytest.mark.parametrize(
    "running",
    [
        # LXD 5.0 to 6.6, and Incus.
        operation(STARTING, resources={"instances": [URL], "containers": [f"/1.0/containers/{BOX.name}"]}),
        # LXD 6.7.
        operation(STARTING, resources={"instance": [f"{URL}?project=ci"]}, metadata=NAMED),
        # LXD from 6.8 on, one and all of a project.
        operation("Restarting instance", metadata=NAMED),
        operation(
            BULK,
            metadata={"entity_url": "/1.0/projects/ci"},
            children=[operation("Stopping instance", metadata=NAMED)],
        ),
        operation("Restoring snapshot", resources={"instances": [URL]}),
    ],
)
def test_a_stopped_instance_is_left_alone_while_the_server_starts_or_stops_it(
    running: dict[str, object],
) -> None:
    endpoint = Endpoint(ONE, status="Stopped")
    with pytest.raises(Busy, match="the server is at it"):
        api(endpoint, NO_TRAITS, Operations(running)).apply(BOX, [], [ONE.name], None)
    assert endpoint.asked == []


@pytest.mark.parametrize(
    "running",
    [
        operation(STARTING, resources={"instances": [f"{URL}-2"]}, metadata={"entity_url": f"{URL}-2"}),
        operation("Snapshotting instance", resources={"instances": [URL]}, metadata=NAMED),
        operation("Restoring cluster member", metadata={"entity_url": f"/1.0/cluster/members/{BOX.name}"}),
        operation(STARTING, metadata={"entity_url": f"/1.0/instances/other/snapshots/{BOX.name}"}),
        operation(STARTING, resources=None, metadata=None, children=None),
        operation(BULK, children=[operation(STARTING, metadata=NAMED, status="Success")]),
    ],
)
def test_other_operations_keep_nothing_waiting(running: dict[str, object]) -> None:
    endpoint = Endpoint(ONE, status="Stopped")
    api(endpoint, NO_TRAITS, Operations(running)).apply(BOX, [], [ONE.name], None)
    assert [method for method, _, _ in endpoint.asked] == ["PUT"]


def test_a_stopped_instance_is_left_alone_where_it_may_be_about_to_start_again() -> None:
    """It ran, as far as whoever asks for this knows."""
    stopped = Endpoint(ONE, status="Stopped")
    for runs in (True, False):
        before = Instance(BOX, running=runs)
        with pytest.raises(Busy, match="may be about to start it again") if runs else nullcontext():
            api(stopped, NO_TRAITS, Operations()).apply(BOX, [], [ONE.name], None, before)
    assert [method for method, _, _ in stopped.asked] == ["PUT"]


@pytest.mark.parametrize("keeps", [False, True])
def test_the_description_is_repeated_where_it_would_become_empty(keeps: bool) -> None:
    endpoint = Endpoint()
    api(endpoint, ServerTraits(keeps_description=keeps)).apply(BOX, [ONE], [], None)
    ((method, body, _),) = endpoint.asked
    assert method == "PATCH"
    assert ("description" in body) is not keeps


def failed(status: int, text: str) -> ServerError:
    """What it means that the server answered so."""
    response = requests.Response()
    response.status_code = status
    response._content = text.encode()
    return failure_of(LXDAPIException(response))


def test_an_error_that_comes_with_status_200_is_the_servers_refusal() -> None:
    said = "Device cannot be stopped when instance is running"
    # What Incus 6.0.4 answers to a wait for an operation that fails meanwhile.
    found = failed(200, f'{{"error": "{said}", "error_code": 400, "type": "error", "metadata": null}}')
    assert type(found) is Refused
    assert str(found) == said
    assert type(failed(200, f'{{"error": "{said}", "error_code": 500, "type": "error"}}')) is Refused


@pytest.mark.parametrize("code", ["0", "200", '"x"', "null", "1e9", str(10**30)])
def test_one_without_a_status_of_its_own_is_a_refusal_too(code: str) -> None:
    assert type(failed(200, f'{{"error": "no", "error_code": {code}, "type": "error"}}')) is Refused


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"type": "async", "error": ""}', '{"type": "error", "error": ""}', '{"type": "error"}'],
)
def test_what_is_no_error_of_the_servers_is_not_taken_for_one(text: str) -> None:
    found = failed(200, text)
    assert type(found) is Unreachable
    assert "something that is not in LXD's API" in str(found)
