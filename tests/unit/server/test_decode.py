"""What is kept of an instance that a server tells of."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hotplugd.model.server_traits import NO_TRAITS
from hotplugd.model.values import Instance
from hotplugd.server.decode import instance

_MARKS = json.dumps({"version": "2", "instance": "default/c1", "node": "/dev/x"})


def told(**devices: Mapping[str, str]) -> Instance:
    found = {"name": "c1", "status": "Running", "config": {}, "devices": devices, "expanded_devices": devices}
    return instance(found, "", NO_TRAITS)


def test_when_it_was_started_is_kept_as_the_server_says_it() -> None:
    found = {"name": "c1", "status": "Stopped", "config": {}, "devices": {}, "expanded_devices": {}}
    when = "2026-11-27T18:10:17.170652123Z"
    assert instance({**found, "last_used_at": when}, "", NO_TRAITS).started == when
    assert instance(found, "", NO_TRAITS).started == ""
    assert len(instance({**found, "last_used_at": "9" * 10_000}, "", NO_TRAITS).started) == 64


def test_what_others_note_in_their_entries_is_not_kept() -> None:
    theirs = {"type": "unix-char", "source": "/dev/x", "user.note": "x" * 1000, "user.hotplugd": "[]"}
    found = told(theirs=theirs)
    assert found.entries["theirs"].config == {"type": "unix-char", "source": "/dev/x"}


def test_a_value_longer_than_any_is_cut() -> None:
    found = told(theirs={"type": "unix-char", "source": "/dev/" + "x" * 100_000})
    assert len(found.entries["theirs"].config["source"]) == 4096


def test_of_ours_all_is_kept() -> None:
    ours = {"type": "unix-char", "source": "/dev/" + "x" * 5000, "user.hotplugd": _MARKS, "user.note": "x"}
    found = told(**{"hp-00000000000000ff": ours}).entries["hp-00000000000000ff"]
    assert found.config["source"] == ours["source"]
    assert found.config["user.note"] == "x"
    assert found.config["user.hotplugd.node"] == "/dev/x"


def test_claims_are_those_of_the_expanded_configuration() -> None:
    found = {"name": "c1", "status": "Running", "config": {}, "devices": {}, "expanded_devices": {}}
    config = {"user.hotplugd.claim.phone": "android", "user.other": "x"}
    made = instance(
        {**found, "expanded_config": config, "created_at": "2026-11-27T18:00:00.5Z"}, "", NO_TRAITS
    )
    assert (made.claims, made.created) == ({"phone": "android"}, "2026-11-27T18:00:00.5")
    assert (told().claims, told().created) == ({}, "")
