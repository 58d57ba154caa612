"""hotplugd's matching: the snapshots that its udev adapter takes, and the rules' decision for each."""

from __future__ import annotations

import json

from benchmarks.rounds import Matcher
from hotplugd.host.list_once import listed
from hotplugd.model.values import Device
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet


class Hotplugd(Matcher):
    """`setup` takes a rule file, as a text in JSON."""

    def setup(self, text: str) -> None:
        """Read the rules."""
        loaded = parse(json.loads(text), "bench.yaml")
        assert not loaded.diagnostics
        self._rules: RuleSet = loaded.rules
        self._devices: tuple[Device, ...] = ()

    def read(self) -> None:
        """Take a snapshot of each, as the daemon does at its start."""
        self._devices, unprocessed = listed(self._rules.attrs)
        assert not any(each.is_usb_device for each in unprocessed)

    def match(self) -> list[tuple[str, str]]:
        """Decide for all devices."""
        decided = ((device, self._rules.decide(device)) for device in self._devices)
        return [(device.kernel, taken.rule.name) for device, taken in decided if taken is not None]


if __name__ == "__main__":
    Hotplugd().serve()
