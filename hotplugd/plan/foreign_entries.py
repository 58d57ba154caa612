"""Which devices the server gives to an instance by an entry, as the server itself reads the entry. Pure.

Each kind of device says how its types of entry are read. That was read in LXD 5.0.2, 5.21.4 and after 6.9
(lxd/device/*.go, lxd/devices.go) and in Incus 6.0 and 7.3 (internal/server/device/*.go,
cmd/incusd/devices.go). All of it holds for an instance that runs; the texts are compared as they are, without
wildcards and with their case, and an empty one is the same as none.

With `attached` (Incus 6.0.6; disk 6.15, usb 6.18, nic 6.21) other than empty or true it takes nothing. A type
that is not known here takes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from hotplugd.model.entry import target_of
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, Entry, Instance
from hotplugd.plan.kinds import registry
from hotplugd.plan.kinds.kind import EntrySelector
from hotplugd.plan.kinds.reading import leads_anywhere

Shape = tuple[bool, ...]
"""Which of a selector's texts are given."""

# At most this many entries of one instance are told of one by one: an instance may have any number.
_MOST_SAID: Final = 10
_TRUE: Final = frozenset({"", "true", "1", "yes", "on"})


def taken_by(entry: Entry, kind: str) -> Iterator[EntrySelector]:
    """What the server gives by this entry to an instance of this kind that runs."""
    config = entry.config
    reading = registry.reading(config.get("type", ""))
    if reading is not None and kind in reading.instances and is_attached(entry):
        yield from reading.selectors(config)


def is_attached(entry: Entry) -> bool:
    """Whether the server acts on the entry."""
    return entry.config.get("attached", "").lower() in _TRUE


def targets_of(entry: Entry) -> Iterator[str]:
    """The paths and names inside that the entry takes."""
    config = entry.config
    if not is_attached(entry):
        return
    if target := target_of(entry):
        yield target
    elif config.get("type") == "infiniband":
        yield config.get("name", "")
    elif config.get("type") == "tpm":
        # An emulated one: a character device, and another for its resource manager.
        yield from (f"/{config[key].strip('/')}" for key in ("path", "pathrm") if config.get(key))


def untold(entry: Entry, kind: str) -> str:
    """The source of an entry if it does not say which node the entry takes; else empty."""
    for selector in taken_by(entry, kind):
        source = entry.config.get("source") or entry.config.get("path", "")
        if selector[0] in ("char", "block") and leads_anywhere(source):
            return source
        if selector[0] == "node" and source.startswith(("/dev/", "/proc/")) and leads_anywhere(source):
            return source
    return ""


def problems_of(others: Iterable[Entry], instance: Instance) -> list[Problem]:
    """Problems of foreign entries of a running instance whose sources may lead to any device."""
    if not instance.running:
        return []
    unclear = [(other, source) for other in others if (source := untold(other, instance.kind))]
    problems = [_problem(entry, source, instance) for entry, source in unclear[:_MOST_SAID]]
    if len(unclear) > _MOST_SAID:
        message = f"{instance.id} has {len(unclear)} entries of which nobody can tell what they take"
        problems.append(Problem("", "", message))
    return problems


def _problem(entry: Entry, source: str, instance: Instance) -> Problem:
    message = (
        f"{instance.id} has an entry '{quoted(entry.name)}' with the source '{quoted(source)}', which may "
        f"lead to any device of the host: nobody can tell whether another instance has that, too; have the "
        f"entry name the node itself"
    )
    return Problem("", "", message)


def given(selector: EntrySelector) -> Shape:
    """Which of the selector's texts are given."""
    return (*map(bool, selector[1:]),)


def selectors_on(device: Device, shapes: Mapping[str, Collection[Shape]]) -> Iterator[EntrySelector]:
    """The selectors by which an entry would take this device.

    shapes  the shapes of selectors to make, by their kinds
    """
    for kind, wanted in shapes.items():
        texts = registry.facts(kind)(device) if wanted else None
        if texts is None:
            continue
        for shape in wanted:
            for each in itertools.product(
                *(text if needed else ("",) for text, needed in zip(texts, shape, strict=True))
            ):
                yield (kind, *each)


def alone(instance: Instance, selector: EntrySelector) -> bool:
    """Whether the instance cannot start without the device of this selector, and has it alone then."""
    kind = selector[0]
    return kind in ("nic", "pci") or (kind == "gpu" and instance.kind == "virtual-machine")
