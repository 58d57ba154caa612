"""Lists the present devices once, without events, for commands."""

from __future__ import annotations

from hotplugd.host.device_reader import Reader
from hotplugd.host.present import Present, Sink
from hotplugd.host.udevd import Backlog
from hotplugd.model.values import Device


class _Sink:
    """Keeps one listing; there are no events."""

    def __init__(self) -> None:
        self.found: tuple[tuple[Device, ...], tuple[Device, ...]] = (), ()

    def device(self, device: Device) -> None: ...

    def no_device(self, syspath: str) -> None: ...

    def listed_devices(self, devices: list[Device], unprocessed: list[Device]) -> None:
        self.found = tuple(devices), tuple(unprocessed)


def _once(attrs: frozenset[str], sink: Sink) -> Present:
    return Present(Reader(attrs), sink, Backlog(lambda _: None), lambda: None)


def restored(attrs: frozenset[str], device: Device) -> Device | None:
    """See `Present.restore`."""
    return _once(attrs, _Sink()).restore(device)


def listed(attrs: frozenset[str]) -> tuple[tuple[Device, ...], tuple[Device, ...]]:
    """All devices there are, once: those that udevd has processed, and those that it has not.

    attrs  the sysfs attributes that rules ask for
    """
    sink = _Sink()
    _once(attrs, sink).list(wait=False)
    return sink.found
