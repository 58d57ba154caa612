"""Metrics for Prometheus, made of what the daemon answers. Pure.

Names and units are those of https://prometheus.io/docs/practices/naming/. No label has a device's or an
instance's name: these come and go, and serial numbers are nobody else's business.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from hotplugd import __version__

if TYPE_CHECKING:
    from hotplugd.app.documents import StatusJson
    from hotplugd.app.pool_documents import PoolJson, PoolsJson

_SEEN: Final = {True: "seen", False: "not_seen", None: "unknown"}
_STATES: Final = ("free", "leased", "cordoned", "releasing")
_HEALTH: Final = ("good", "unknown", "bad", "quarantined")
_CLAIMS: Final = ("bound", "waiting", "unsatisfiable")
_HEALTHS: Final = ("well", "degraded", "down")
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, in seconds, for the time from a plug to the device inside."""
_EVENTS: Final = {
    "device.add": "attached",
    "device.remove": "removed",
    "device.repair": "repaired",
    "device.problem": "problem",
}
_MS: Final = " ms"


@dataclass(slots=True)
class Counts:
    """What happened since `serve` began to listen. Events that were missed meanwhile are not in it.

    cut  how often the stream of events was cut off
    """

    events: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(_EVENTS.values(), 0)))
    durations: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0
    cut: int = 0

    def count(self, event: Mapping[str, object]) -> None:
        """Take an event of the daemon's."""
        name = _EVENTS.get(str(event.get("event")))
        if name is None:
            return
        self.events[name] += 1
        if (seconds := _seconds(event.get("after_plug"))) is not None:
            self.seconds += seconds
            self.durations[sum(seconds > bound for bound in BUCKETS)] += 1


def _seconds(text: object) -> float | None:
    """Seconds of a text such as `12.3 ms`."""
    if not isinstance(text, str) or not text.endswith(_MS):
        return None
    try:
        seconds = float(text.removesuffix(_MS)) / 1000
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


@dataclass(frozen=True, slots=True)
class Answers:
    """What the daemon said now. health: `well`, `degraded` or `down`"""

    status: StatusJson
    pools: PoolsJson
    health: str


def exposition(answers: Answers | None, counts: Counts) -> bytes:
    """The metrics as text (https://prometheus.io/docs/instrumenting/exposition_formats/).

    answers  None where the daemon does not answer: no figure of before is repeated then
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(answers, counts))
    return generate_latest(registry)


class _Collected:
    """What prometheus_client collects."""

    def __init__(self, answers: Answers | None, counts: Counts) -> None:
        self._answers = answers
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        yield InfoMetricFamily("hotplugd_build", "The version.", {"version": __version__})
        yield GaugeMetricFamily(
            "hotplugd_up", "Whether the daemon answers.", float(self._answers is not None)
        )
        yield from _of_events(self._counts)
        if self._answers is not None:
            yield from _of_status(self._answers.status)
            yield _health(self._answers.health)
            yield from _of_pools(self._answers.pools["pools"])


def _of_events(counts: Counts) -> Iterator[Metric]:
    events = CounterMetricFamily("hotplugd_events", "Changes and problems of devices.", labels=["event"])
    for name, count in counts.events.items():
        events.add_metric([name], count)
    yield events
    yield CounterMetricFamily(
        "hotplugd_stream_cuts", "How often the daemon's events were cut off.", counts.cut
    )
    buckets, total = [], 0
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], counts.durations, strict=True):
        total += count
        buckets.append((bound, total))
    yield HistogramMetricFamily(
        "hotplugd_attach_duration_seconds", "Time from a plug to the server's answer that the device is in.",
        buckets, counts.seconds,
    )  # fmt: skip


def _of_status(status: StatusJson) -> Iterator[Metric]:
    server = _labelled("hotplugd_server_up", "Whether the server answers.", "software", "version")
    server.add_metric(
        [status["server"]["software"], status["server"]["version"]], float(status["server"]["connected"])
    )
    yield server
    yield GaugeMetricFamily("hotplugd_ready", "Whether everything was tried once.", float(status["ready"]))
    yield GaugeMetricFamily("hotplugd_rules", "Rules in force.", status["rules"])
    yield GaugeMetricFamily(
        "hotplugd_config_last_reload_successful", "Whether the files on disk were taken.",
        float(not any(each["message"].startswith("reload failed") for each in status["problems"])),
    )  # fmt: skip
    yield CounterMetricFamily(
        "hotplugd_config_reload_failures", "Reloads that were refused.", status["failed_reloads"]
    )
    yield CounterMetricFamily(
        "hotplugd_lost_events", "How often the kernel dropped events, after which all was listed anew.",
        status["lost_events"],
    )  # fmt: skip
    devices = _labelled("hotplugd_devices", "Devices by what is so about them.", "state")
    for state, number in (
        ("attached", len(status["attachments"])),
        ("pending", len(status["pending"])),
        ("held", len(status["holds"])),
        ("unmatched", len(status["unmatched"])),
        ("by_hand", len(status["overrides"])),
    ):
        devices.add_metric([state], number)
    yield devices
    yield GaugeMetricFamily("hotplugd_problems", "Problems in status.", len(status["problems"]))
    seen = Counter(_SEEN[each["verified"]] for each in status["attachments"])
    attachments = _labelled("hotplugd_attachments", "What is attached, by what was seen inside.", "inside")
    for word in _SEEN.values():
        attachments.add_metric([word], seen[word])
    yield attachments


def _of_pools(pools: list[PoolJson]) -> Iterator[Metric]:
    devices = _labelled("hotplugd_pool_devices", "Devices of a pool that are there.", "pool", "state")
    health = _labelled("hotplugd_pool_device_health", "The same by their health.", "pool", "health")
    claims = _labelled("hotplugd_pool_claims", "Claims on a pool.", "pool", "state")
    expected = _labelled("hotplugd_pool_devices_expected", "How many there should be.", "pool")
    for pool in pools:
        there = [each for each in pool["devices"] if each["present"]]
        for metric, words, found in (
            (devices, _STATES, Counter(each["state"] for each in there)),
            (health, _HEALTH, Counter(each["health"] for each in there)),
            (claims, _CLAIMS, Counter(each["state"] for each in pool["claims"])),
        ):
            for word in words:
                metric.add_metric([pool["name"], word], found[word])
        expected.add_metric([pool["name"]], pool["expect"])
    yield from (devices, health, claims, expected)


def _health(now: str) -> Metric:
    """One series for each word, with 1 at the one that is so."""
    metric = GaugeMetricFamily("hotplugd_health", "How well the daemon works.", labels=["health"])
    for word in _HEALTHS:
        metric.add_metric([word], float(word == now))
    return metric


def _labelled(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, labels=labels)
