"""Rule matching beside labgrid's udev matching: the same made-up USB devices, the same patterns."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.figure import Figure
from benchmarks.rounds import Beside, in_turns
from benchmarks.timing import ms, ratio
from tests.support.lab.usb import Phone, Usb

LABGRID: Final = Path(__file__).parents[1] / "build" / "labgrid" / "bin" / "python"
# Real buses and other tests' are below 1000; the devices have the numbers of eight.
_BUS: Final = 1000 + 8 * (os.getpid() % 800)
# labgrid's names of what hotplugd's keys are.
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "serial": ("ID_SERIAL_SHORT",),
    "path": ("ID_PATH",),
    "id": ("ID_VENDOR_ID", "ID_MODEL_ID"),
}


def figures(devices: int = 1_000, rules: int = 100, rounds: int = 7) -> list[Figure]:
    """With what each has at hand of the devices, and with finding that out."""
    assert LABGRID.exists(), f"expected labgrid in {LABGRID.parents[1]}; `make bench` puts it there"
    with ExitStack() as undo:
        usb = undo.enter_context(Usb(_BUS))
        ours = undo.enter_context(Beside(Path(sys.executable), "benchmarks.match_hotplugd", usb.environment))
        labgrid = undo.enter_context(Beside(LABGRID, "benchmarks.match_labgrid", usb.environment))
        # labgrid lists devices for each of its resources as it is made: there are none yet.
        patterns = {f"r{number}": _pattern(number, devices // rules) for number in range(rules)}
        labgrid.setup(json.dumps({name: _for_labgrid(each) for name, each in patterns.items()}))
        ours.setup(json.dumps("rules:\n" + "".join(_rule(*each) for each in patterns.items())))
        for number in range(devices):
            usb.plug(_phone(number), str(number + 1))
        found = ours.matches()
        assert found == labgrid.matches()
        assert {name for _, name in found} == patterns.keys()
        assert len(found) == rules
        took = {verb: in_turns(verb, rounds, [labgrid, ours]) for verb in ("match", "read")}
    return [
        Figure(
            f"matching {devices:,} devices by {rules} rules{more}", "labgrid's udev matching", "≥", limit,
            ratio(*took[verb]), "times faster", " against ".join(map(ms, reversed(took[verb]))),
        )
        # Reading is libudev's work in both, and only once for as long as a device is there.
        for verb, more, limit in (("match", "", 10), ("read", ", with reading the devices", 0.5))
    ]  # fmt: skip


def _phone(number: int) -> Phone:
    """No other has its serial, its path or its ids."""
    return Phone(f"{0x1000 + number:04x}", "4ee7", f"R5C{number:04}")


def _pattern(number: int, stride: int) -> dict[str, str]:
    """What takes one of the devices, by one of four kinds of patterns in turn."""
    device = number * stride
    phone = _phone(device)
    return (
        {"serial": phone.serial},
        {"id": f"{phone.vendor}:{phone.product}"},
        {"path": f"pci-0000:00:14.0-usb-0:{device + 1}"},
        {"id": f"{phone.vendor}:{phone.product}", "serial": phone.serial},
    )[number % 4]


def _for_labgrid(pattern: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, text in pattern.items():
        parts = text.split(":") if key == "id" else [text]
        found |= dict(zip(_KEYS[key], parts, strict=True))
    return found


def _rule(name: str, pattern: Mapping[str, str]) -> str:
    return f"  - {{name: {name}, match: {json.dumps(pattern)}, attach: {{to: c1}}}}\n"
