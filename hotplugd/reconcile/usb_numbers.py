"""Which virtual machines have entries of ours for which bus and device numbers of USB.

An entry that names its device by numbers may outlive it while no hotplugd runs, and the numbers are another
device's in time: after some 127 plugs, or once the bus is another one. Then its server gives that device to
the wrong virtual machine. So nothing is put in by such numbers before another's entry is out that takes it.
"""

from __future__ import annotations

from collections.abc import Sequence

from hotplugd.model.entry import is_ours
from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.plan.change import Change

Number = tuple[str, str]
"""Of the bus and the device, as entries have them."""


class UsbNumbers:
    """Those of all instances. All of it belongs to the event loop."""

    def __init__(self) -> None:
        self._by_instance: dict[InstanceName, dict[Number, Entry]] = {}
        self._waiting: set[InstanceName] = set()

    def learned(self, name: InstanceName, instance: Instance | None) -> Sequence[InstanceName]:
        """The instance is like this now, None if it is gone. Returns those that may have waited for that."""
        there = instance.entries.values() if instance is not None and instance.here else ()
        before = self._by_instance.pop(name, {})
        now = {number: each for each in there if (number := _number(each)) is not None}
        if now:
            self._by_instance[name] = now
        if all(now.get(number) == each for number, each in before.items()):
            return ()
        waited, self._waiting = self._waiting, set()
        return sorted(waited)

    def ready(self, name: InstanceName, changes: Sequence[Change]) -> Sequence[Change]:
        """Those of the instance's changes that need not wait for another instance."""
        ready = [each for each in changes if not self._is_others(name, each)]
        if len(ready) < len(changes):
            self._waiting.add(name)
        return ready

    def _is_others(self, name: InstanceName, change: Change) -> bool:
        number = _number(change.entry) if change.action != "remove" else None
        if number is None:
            return False
        others = (numbers.get(number) for other, numbers in self._by_instance.items() if other != name)
        # One of this name was made for this enumeration.
        return any(each is not None and each.name != change.entry.name for each in others)


def _number(entry: Entry) -> Number | None:
    config = entry.config
    if config.get("type") != "usb" or "devnum" not in config or not is_ours(entry):
        return None
    return config.get("busnum", ""), config["devnum"]
