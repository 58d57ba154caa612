"""What should be where, worked out with none of hotplugd's code: the state machine's yardstick."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import cast

from tests.support.lab.container import Container
from tests.support.lab.inside import Seen

RULES = {
    "one": """\
rules:
  - name: first
    match: {{subsystem: vc, kernel: vcsa{0}}}
    attach: {{to: ma}}
  - name: both
    match: {{subsystem: vc, kernel: vcsa{1}}}
    attach: {{to: [ma, mb], mode: "0640"}}
  - name: screen
    match: {{subsystem: vc, kernel: "vcsa{2}|vcsa{3}"}}
    attach: {{to: mb, path: /dev/screen}}
""",
    "two": """\
rules:
  - name: first
    match: {{subsystem: vc, kernel: vcsa{0}}}
    attach: {{to: mb, path: "/dev/first-{{kernel}}"}}
  - name: both
    match: {{subsystem: vc, kernel: vcsa{1}}}
    ignore: true
  - name: screen
    match: {{subsystem: vc, kernel: "vcsa{2}|vcsa{3}"}}
    attach: {{to: ma, path: /dev/screen, group: tty, mode: "0620"}}
""",
}
BROKEN = "rules:\n  - name: broken\n    match: {serail: 1}\n    attach: {to: ma}\n"

SCREEN = "/dev/screen"
CONSOLES = 7  # the major number of vcs devices


@dataclass(slots=True)
class Instance:
    """What the model knows of a container: everything that is not hotplugd's to change."""

    running: bool
    frozen: bool = False
    description: str = ""
    config: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, dict[str, str]] = field(default_factory=dict)
    snapshot: Instance | None = None

    def copy(self) -> Instance:
        return deepcopy(self)


def wanted(rules: str, name: str, plugged: Sequence[int], numbers: Sequence[int]) -> Mapping[str, set[str]]:
    """By path inside the instance: the device numbers of which one must be there.

    plugged  which of the four consoles are
    numbers  the consoles' numbers
    """
    found: dict[str, set[str]] = {}

    def put(console: int, path: str) -> None:
        if console in plugged:
            found.setdefault(path, set()).add(f"c 7:{128 + numbers[console]}")

    if (rules, name) == ("one", "ma"):
        put(0, f"/dev/vcsa{numbers[0]}")
        put(1, f"/dev/vcsa{numbers[1]}")
    elif (rules, name) == ("one", "mb"):
        put(1, f"/dev/vcsa{numbers[1]}")
        put(2, SCREEN)
        put(3, SCREEN)
    elif (rules, name) == ("two", "mb"):
        put(0, f"/dev/first-vcsa{numbers[0]}")
    elif (rules, name) == ("two", "ma"):
        put(2, SCREEN)
        put(3, SCREEN)
    return found


def see(
    container: Container,
    model: Instance,
    expected: Mapping[str, set[str]],
    majors: Collection[int] = (CONSOLES,),
    interfaces: Collection[str] = (),
) -> Mapping[str, Seen]:
    """See that what is attached is what should be, inside too, and that what is not ours is as it was.

    expected    as `wanted` returns it
    majors      of the nodes inside that are looked at
    interfaces  the names of the network interfaces that should be inside
    Returns the nodes of such majors that were seen inside; none where it does not run.
    """
    found = container.config
    entries = cast("Mapping[str, Mapping[str, str]]", found["devices"])
    settings = cast("Mapping[str, str]", found["config"])
    ours = {key: each for key, each in entries.items() if key.startswith("hp-")}
    foreign = {key: each for key, each in entries.items() if key not in ours}
    assert foreign == model.foreign, f"{container} has entries {foreign}, expected {model.foreign}"
    described = found["description"]
    assert described == model.description, f"{container} is {described!r}, expected {model.description!r}"
    own = {key: each for key, each in settings.items() if key.startswith("user.")}
    assert own == model.config, f"{container} has settings {own}, expected {model.config}"
    targets, all_expected = sorted(map(_target, ours.values())), sorted((*expected, *interfaces))
    assert targets == all_expected, f"{container} has entries for {targets}, expected {all_expected}"
    if not model.running:
        return {}
    container.forget_pid()
    for each in interfaces:
        assert each in container.interfaces(), f"{container} has no interface {each}"
    nodes = {path: seen for path, seen in container.nodes().items() if seen.major in majors}
    assert nodes.keys() == expected.keys(), f"{container} has {sorted(nodes)}, expected {sorted(expected)}"
    for path, seen in nodes.items():
        assert seen.number in expected[path], f"{path} in {container} is {seen.number}"
    return nodes


def _target(entry: Mapping[str, str]) -> str:
    """Where an entry puts its device: the path of a node, or the name of an interface."""
    return entry["name"] if entry["type"] == "nic" else entry["path"]
