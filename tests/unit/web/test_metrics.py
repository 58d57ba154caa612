"""The metrics for Prometheus: their names, their figures, and that nothing of a device is in them."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hotplugd.web.metrics import BUCKETS, Answers, Counts, exposition

ATTACHED: dict[str, Any] = {"verified": True, "device": "/dev/secret", "serial": "R5C001"}
STATUS: dict[str, Any] = {
    "ready": True,
    "server": {"address": "/x", "software": "lxd", "version": "5.0.2", "connected": True},
    "rules": 3,
    "devices": 12,
    "attachments": [ATTACHED, {**ATTACHED, "verified": False}, {**ATTACHED, "verified": None}, ATTACHED],
    "pending": [{}],
    "holds": [],
    "problems": [{"message": "no group plugdev"}],
    "unmatched": [{"device": "/dev/secret"}] * 5,
    "overrides": [],
    "failed_reloads": 2,
    "lost_events": 1,
}
POOLS: dict[str, Any] = {
    "pools": [
        {
            "name": "android",
            "expect": 24,
            "devices": [
                {"present": True, "state": "leased", "health": "good"},
                {"present": True, "state": "free", "health": "bad"},
                {"present": False, "state": "leased", "health": "good"},
            ],
            "claims": [{"state": "waiting"}, {"state": "bound"}, {"state": "bound"}],
        }
    ]
}


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """By name and the labels' values, in order."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def answers(**changes: object) -> Answers:
    status: Any = {**STATUS, **changes}
    pools: Any = POOLS
    return Answers(status, pools, "degraded")


def test_figures_are_those_of_the_status() -> None:
    found = samples(exposition(answers(), Counts()))
    expected: dict[tuple[str, ...], float] = {
        ("hotplugd_up",): 1,
        ("hotplugd_ready",): 1,
        ("hotplugd_server_up", "5.0.2", "lxd"): 1,
        ("hotplugd_rules",): 3,
        ("hotplugd_config_last_reload_successful",): 1,
        ("hotplugd_config_reload_failures_total",): 2,
        ("hotplugd_lost_events_total",): 1,
        ("hotplugd_devices", "attached"): 4,
        ("hotplugd_devices", "pending"): 1,
        ("hotplugd_devices", "held"): 0,
        ("hotplugd_devices", "unmatched"): 5,
        ("hotplugd_devices", "by_hand"): 0,
        ("hotplugd_problems",): 1,
        ("hotplugd_attachments", "seen"): 2,
        ("hotplugd_attachments", "not_seen"): 1,
        ("hotplugd_attachments", "unknown"): 1,
        ("hotplugd_health", "well"): 0,
        ("hotplugd_health", "degraded"): 1,
        ("hotplugd_health", "down"): 0,
        ("hotplugd_pool_devices", "android", "free"): 1,
        ("hotplugd_pool_devices", "android", "leased"): 1,
        ("hotplugd_pool_devices", "android", "cordoned"): 0,
        ("hotplugd_pool_devices", "android", "releasing"): 0,
        ("hotplugd_pool_device_health", "android", "bad"): 1,
        ("hotplugd_pool_device_health", "android", "quarantined"): 0,
        ("hotplugd_pool_claims", "android", "bound"): 2,
        ("hotplugd_pool_claims", "android", "waiting"): 1,
        ("hotplugd_pool_claims", "android", "unsatisfiable"): 0,
        ("hotplugd_pool_devices_expected", "android"): 24,
    }
    assert {key: found.get(key) for key in expected} == expected


def test_nothing_of_a_device_is_told() -> None:
    text = exposition(answers(), Counts())
    assert b"R5C001" not in text
    assert b"secret" not in text


def test_a_refused_reload_is_told_while_it_lasts() -> None:
    problems = [{"message": "reload failed, and the old settings stay in force: 1 error in the files"}]
    found = samples(exposition(answers(problems=problems), Counts()))
    assert found["hotplugd_config_last_reload_successful",] == 0


def test_of_a_daemon_that_is_away_nothing_of_before_is_told() -> None:
    found = samples(exposition(None, Counts()))
    assert found["hotplugd_up",] == 0
    names = {name for name, *_ in found}
    assert not any(
        each.startswith(("hotplugd_devices", "hotplugd_health", "hotplugd_pool")) for each in names
    )


def test_events_are_counted_from_zero() -> None:
    counts = Counts()
    for event in (
        {"event": "device.add", "after_plug": "12.5 ms"}, {"event": "device.add", "after_plug": "70000.0 ms"},
        {"event": "device.add"}, {"event": "device.remove"}, {"event": "device.gone"}, {},
    ):  # fmt: skip
        counts.count(event)
    found = samples(exposition(None, counts))
    assert found["hotplugd_events_total", "attached"] == 3
    assert found["hotplugd_events_total", "removed"] == 1
    assert found["hotplugd_events_total", "repaired"] == 0
    name = "hotplugd_attach_duration_seconds"
    assert found[f"{name}_count",] == 2
    assert found[f"{name}_sum",] == pytest.approx(70.0125)
    bounds = [found[f"{name}_bucket", str(bound)] for bound in BUCKETS]
    assert bounds == [0, 0, *[1] * (len(BUCKETS) - 2)]
    assert found[f"{name}_bucket", "+Inf"] == 2


@pytest.mark.parametrize("after", ["x ms", "1", 12, None, "nan", "-5 ms", " ms"])
def test_a_time_that_is_none_is_left_out_or_none(after: object) -> None:
    counts = Counts()
    counts.count({"event": "device.add", "after_plug": after})
    assert counts.events["attached"] == 1
    assert counts.seconds == 0


def test_a_server_of_any_name_breaks_no_line() -> None:
    server = {"address": "", "software": 'lxd"\n\\', "version": "", "connected": False}
    found = samples(exposition(answers(server=server), Counts()))
    assert found["hotplugd_server_up", "", 'lxd"\n\\'] == 0
