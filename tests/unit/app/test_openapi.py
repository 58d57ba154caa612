"""What the daemon answers is what its OpenAPI document says; an order needs what that says, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hotplugd.app import status_answers
from hotplugd.app.documents import StatusJson
from hotplugd.app.endpoints import EVENTS, HEALTH, LEASE_MOVE, POOLS, RELOAD, RULES, STATUS, Endpoint
from hotplugd.app.event_buffer import EventBuffer, Moment
from hotplugd.app.health import health
from hotplugd.app.openapi import openapi
from hotplugd.app.reports import reload_json
from hotplugd.model.asker import Asker
from hotplugd.model.problem import Problem
from hotplugd.plan.overrides import Lasting, Override, Overrides
from tests.support.virtual import in_virtual_time
from tests.unit.app.test_lease_orders import RULES as POOL_RULES
from tests.unit.app.test_lease_orders import Desk
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_leases import job

DOCUMENT: Any = openapi()
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None),
    "array": list, "object": dict,
}  # fmt: skip


def wrong(value: object, schema: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Where a value is not what a JSON Schema says. Keys that it does not name are wrong, too."""
    if (ref := schema.get("$ref")) is not None:
        yield from wrong(value, DOCUMENT["components"]["schemas"][ref.rpartition("/")[2]], at)
        return
    if "anyOf" in schema:
        if all(any(wrong(value, each, at)) for each in schema["anyOf"]):
            yield f"{at}: {value!r} is none of {schema['anyOf']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    kind = schema.get("type")
    is_number = kind in ("integer", "number") and isinstance(value, bool)
    if kind is not None and (is_number or not isinstance(value, _TYPES[kind])):
        yield f"{at}: {value!r} is no {kind}"
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from wrong(each, schema.get("items", {}), f"{at}/{number}")
    elif isinstance(value, dict) and kind == "object":
        yield from _wrong_in_object(value, schema, at)


def _wrong_in_object(value: Mapping[str, object], schema: Mapping[str, Any], at: str) -> Iterator[str]:
    known, other = schema.get("properties", {}), schema.get("additionalProperties")
    yield from (f"{at}: no {key}" for key in schema.get("required", ()) if key not in value)
    for key, each in value.items():
        if key not in known and other is None:
            yield f"{at}: {key} is not named"
        yield from wrong(each, known.get(key, other or {}), f"{at}/{key}")


def is_as_said(endpoint: Endpoint, document: object, status: str = "200") -> None:
    operation = DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]
    schema = operation["responses"][status]["content"]["application/json"]["schema"]
    assert [*wrong(json.loads(json.dumps(document)), schema)] == []


def test_what_is_answered_is_what_is_said(tmp_path: Path) -> None:
    in_virtual_time(_answered)(tmp_path)


async def _answered(folder: Path) -> None:
    desk = Desk(Bench(job(1), job(2), rules=POOL_RULES), folder)
    await desk.start(1)
    await desk.ask("cordon", "job-2", reason="x")
    desk.bench.hanging_requests.add(job(1).id)
    session: Any = SimpleNamespace(
        reconciler=desk.bench.reconciler, rules=POOL_RULES, address="/s", connected=True, lost_events=0,
        server=SimpleNamespace(software="lxd", version="5"), held=desk.bench.reconciler.held,
    )  # fmt: skip
    override = Override(Lasting("serial:x", "usb"), None, "2026-11-27T18:00:00+00:00", Asker(0), "/dev/x")
    problems = [Problem("/dev/a", "r", "x")]

    def status(of: Any) -> StatusJson:
        return status_answers.status(
            POOL_RULES, of, Overrides.made_of([override]), problems,
            ready=True, failed_reloads=0, cursor="1-1",
        )  # fmt: skip

    for each in (session, None):
        is_as_said(STATUS, status(each))
        is_as_said(POOLS, status_answers.pools(each))
        is_as_said(RULES, status_answers.rules(POOL_RULES, each, "2026-11-27T18:00:00+00:00"))
        is_as_said(HEALTH, health(status(each)), "503" if each is None else "200")
    told = status(session)
    assert all(told[key] for key in ("attachments", "claims", "overrides", "problems"))
    is_as_said(LEASE_MOVE, await desk.ask("lease-move", "R5C001", instance="job-9"), "409")
    is_as_said(RELOAD, reload_json(POOL_RULES, POOL_RULES, (), "x"), "409")
    kept = EventBuffer("1a2b3c4d")
    kept.keep(Moment.now(), {"event": "x", "level": "info"})
    is_as_said(EVENTS, json.loads(kept.page("").json()))


def test_the_check_finds_what_is_wrong() -> None:
    page = {"events": [{}], "cursor": "", "more": False, "lost": False}
    is_as_said(EVENTS, page)
    for changed in ({"events": [1]}, {"more": 1}, {"cursor": None}, {"other": 1}):
        with pytest.raises(AssertionError):
            is_as_said(EVENTS, {**page, **changed})
    with pytest.raises(AssertionError):
        is_as_said(EVENTS, {"events": []})


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("attach", {"device", "instance"}), ("detach", {"device"}), ("undo", set()),
        ("lease-release", {"device"}), ("lease-move", {"device", "instance"}), ("cordon", {"device"}),
        ("uncordon", {"device"}), ("drain", {"device"}), ("reset", {"device"}), ("port", {"port", "switch"}),
    ],
)  # fmt: skip
def test_an_order_needs_no_more_than_the_daemon_does(name: str, needed: set[str]) -> None:
    schema = DOCUMENT["paths"][f"/1/{name}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    named = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert {*named["required"]} == needed
    assert needed < {*named["properties"]}
