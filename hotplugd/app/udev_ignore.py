"""udev rules that tell the host's software to leave alone what hotplugd's rules take. Pure.

    RuleSet -> text of a udev rules file    `ignore_rules`

Who listens: ModemManager (ID_MM_DEVICE_IGNORE, ID_MM_PORT_IGNORE), udisks (UDISKS_IGNORE), NetworkManager
(NM_UNMANAGED), systemd-networkd (ID_NET_MANAGED_BY, systemd 255) and libmtp's probe (MTP_NO_PROBE). Nobody is
told of a device that a rule may not take: what udev's rules cannot say exactly is left out, and what an
`ignore` rule may mean is skipped. adb and brltty have no such property, and CAN interfaces are networkd's.

What goes along by `with` is told too. udev cannot ask for the properties of a device above, and can import
them from its parent (udev(7), IMPORT{parent}): so what a rule with `with` takes has a property of that rule,
and everything below it has that from its parent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import product
from types import MappingProxyType
from typing import Final, assert_never

from hotplugd.rules.hubs import Hubs
from hotplugd.rules.keys import DEVTYPE, Form
from hotplugd.rules.match import AnyOf, KeyTest, Match, Test
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.ruleset import Attach, Rule, RuleSet

Condition = str
"""One `KEY=="pattern"` of a udev rule."""

_PROPERTIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ID_MM_DEVICE_IGNORE": "1",
        "ID_MM_PORT_IGNORE": "1",
        "UDISKS_IGNORE": "1",
        "NM_UNMANAGED": "1",
        "MTP_NO_PROBE": "1",
        # networkd does not touch an interface that another program manages.
        "ID_NET_MANAGED_BY": "hotplugd",
    }
)
# Prefix of the property that marks devices below one that a rule with `with` takes.
_WITH: Final = "HOTPLUGD_WITH_"
_OWN: Final = "hotplugd_leave_own"
# networkd gives these the bit rate without which they cannot go in (include/uapi/linux/if_arp.h: ARPHRD_CAN).
_CAN: Final = "280"
# Characters that neither udev nor hotplugd's patterns interpret in quotes (udev(7)).
_SAFE: Final = re.compile(r"[A-Za-z0-9_.:*?\[\]|@/+,=! -]+", re.ASCII)
_UDEV_KEY: Final = re.compile(r"[A-Z]+(\{[A-Za-z0-9_.]+\})?", re.ASCII)
# Only at the end may a star be left: what follows it is more of one interface, or another whole one.
_INTERFACE: Final = re.compile(r"([0-9a-f?]{2}:){0,2}([0-9a-f?]{2}|[0-9a-f?]?\*)")
_STAR_BETWEEN: Final = re.compile(r"(?<![^:])\*(?=:)")
_LINES: Final = 64
_SLOW_ROOT: Final = ('KERNELS=="usb*"', 'ATTRS{idVendor}=="1d6b"', 'ATTRS{idProduct}=="0001|0002"')

HEAD: Final = """\
# Made by hotplugd of its rules, and made anew when they are read: do not edit.
# It tells the host's software to leave alone what goes into instances.

"""


def ignore_rules(rules: RuleSet, kept: Iterable[str] = (), *, usb: bool) -> str:
    """The text of a rules file: for USB devices, or for all others.

    Two files, since libmtp asks about USB devices before udevd knows what others are.
    kept  the syspaths of devices that stay on the host whatever rules say, since it uses them
    """
    end = "hotplugd_leave_end"
    paths = sorted(_devpaths(kept))
    lines = [HEAD, f'ACTION=="remove", GOTO="{end}"', f'SUBSYSTEM{"!=" if usb else "=="}"usb", GOTO="{end}"']
    if not usb:
        lines.append(f'SUBSYSTEM=="net", ATTR{{type}}=="{_CAN}", GOTO="{end}"')
    if rules.has_with:
        # What is below a device that stays on the host stays there, unless a rule is about it.
        lines += [f'DEVPATH=="{path}/*", GOTO="{_OWN}"' for path in paths]
        lines += [f'IMPORT{{parent}}="{_WITH}*"', f'LABEL="{_OWN}"']
    lines += [f'DEVPATH=="{path}", GOTO="{end}"' for path in paths]
    told = [f'ENV{{{name}}}="{value}"' for name, value in _PROPERTIES.items()]
    for rule in filter(lambda each: each.enabled, rules.rules):
        if rule.attach is None:
            lines += [", ".join((*each, f'GOTO="{end}"')) for each in _conditions(rule, rules.hubs)]
            continue
        below = _property_below(rule, rule.attach)
        mark = [f'ENV{{{below}}}="1"'] if rule.attach.companions else []
        lines += [", ".join((*each, *mark, *told, f'GOTO="{end}"')) for each in _conditions(rule, rules.hubs)]
        for companion in rule.attach.companions:
            alternatives = _few(_exactly(companion.match, rules.hubs))
            lines += [
                ", ".join((f'ENV{{{below}}}=="1"', *each, *told, f'GOTO="{end}"')) for each in alternatives
            ]
    return "\n".join((*lines, f'LABEL="{end}"', ""))


def _property_below(rule: Rule, attach: Attach) -> str:
    """The property of what the rule takes, and of what is below that: another one once the rule changes."""
    says = "\n".join(map(str, (rule.name, rule.match, *(each.match for each in attach.companions))))
    return f"{_WITH}{sha256(says.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"


def _devpaths(syspaths: Iterable[str]) -> Iterator[str]:
    for syspath in syspaths:
        path = syspath.removeprefix("/sys")
        if _SAFE.fullmatch(path) and not set(path) & set("*?[|"):
            yield path


def _conditions(rule: Rule, hubs: Hubs) -> Iterable[tuple[Condition, ...]]:
    """Alternatives, in each of which all conditions must hold: no more devices than the rule takes.

    Of a rule that ignores devices: no fewer.
    """
    if rule.attach is None:
        return [tuple(_loosely(rule.match))]
    return _few(_exactly(rule.match, hubs))


def _few(lines: Sequence[tuple[Condition, ...]] | None) -> Sequence[tuple[Condition, ...]]:
    """Alternatives that can be said and are not too many; else none."""
    return lines if lines is not None and len(lines) <= _LINES else ()


def _loosely(match: Match) -> Iterator[Condition]:
    for test in match.tests:
        if isinstance(test, KeyTest) and test.key.same and (pattern := _joined(test.patterns)):
            yield f'{test.key.udev}=="{pattern}"'


def _exactly(match: Match, hubs: Hubs, *, is_usb: bool = False) -> list[tuple[Condition, ...]] | None:
    """None where udev cannot say it. is_usb: it is known that only USB devices are meant."""
    is_usb = is_usb or any(
        isinstance(test, KeyTest)
        and test.key.name == DEVTYPE.name
        and test.is_exact
        and test.exact == {"usb_device"}
        for test in match.tests
    )
    lines: list[tuple[Condition, ...]] = [()]
    for test in match.tests:
        alternatives = _test(test, hubs, is_usb=is_usb)
        if alternatives is None:
            return None
        lines = [(*one, *other) for one, other in product(lines[: _LINES + 1], alternatives[: _LINES + 1])]
    return lines


def _test(test: Test, hubs: Hubs, *, is_usb: bool) -> list[tuple[Condition, ...]] | None:
    if isinstance(test, AnyOf):
        branches = [_exactly(branch, hubs, is_usb=is_usb) for branch in test.branches]
        # A branch that cannot be said takes fewer devices when it is left out.
        return [line for branch in branches if branch is not None for line in branch] or None
    if not isinstance(test, KeyTest):
        return None
    if test.key.form is Form.LOCATION:
        return _places(test.key.udev, hubs.places(test.matches), is_usb=is_usb)
    return _key_test(test, is_usb=is_usb)


def _key_test(test: KeyTest, *, is_usb: bool) -> list[tuple[Condition, ...]] | None:
    udev, form = (is_usb and test.key.usb) or test.key.udev, test.key.form
    if form is Form.ID:
        return _ids(udev, test.patterns)
    pattern = _joined(test.patterns)
    if not pattern or not _UDEV_KEY.fullmatch(udev):
        return None
    match form:
        case Form.TEXT | Form.MAC:
            return [(f'{udev}=="{pattern}"',)]
        case Form.NUMBER:
            return [(_number(udev, pattern),)]
        case Form.PORT | Form.LOCATION:
            # For a device below a USB device, KERNELS would also mean the hubs above it.
            return [(f'{udev}=="{pattern}"',)] if is_usb and form is Form.PORT else None
        case Form.INTERFACE:
            condition = _interface(udev, test.patterns)
            return None if condition is None else [(condition,)]
    assert_never(form)


def _places(udev: str, places: Sequence[str], *, is_usb: bool) -> list[tuple[Condition, ...]] | None:
    """One of these ID_PATHs, below a root hub that is not for USB 3.

    Both buses of a controller number their ports from 1, and an ID_PATH does not say which of them is meant.
    The root hub's keys must all hold for one device above (udev(7)). What is in the same socket on the other
    bus is left out.
    """
    paths = [place for place in places if "-usbv3-" not in place]
    if not paths or not all(map(_SAFE.fullmatch, paths)):
        return None
    # What hangs from a USB device has the interface at its end.
    texts = paths if is_usb else [text for path in paths for text in (path, f"{path}:*")]
    return [(f'{udev}=="{"|".join(texts)}"', *_SLOW_ROOT)]


def _number(udev: str, pattern: str) -> Condition:
    """The condition for a number in hex, with and without 0x: udev has it for PCI devices."""
    both = "|".join(f"{number}|0x{number}" for number in pattern.split("|"))
    return f'{udev}=="{both}"'


def _ids(udev: str, patterns: Iterable[Pattern]) -> list[tuple[Condition, ...]] | None:
    keys = udev.split(":")
    lines: list[tuple[Condition, ...]] = []
    for text in "|".join(pattern.text for pattern in patterns).split("|"):
        numbers = text.split(":")
        if len(numbers) != len(keys) or not all(map(_UDEV_KEY.fullmatch, keys)) or not _SAFE.fullmatch(text):
            return None
        lines.append(tuple(map(_number, keys, numbers)))
    return lines


def _interface(udev: str, patterns: Iterable[Pattern]) -> Condition | None:
    """Udev has `:ff4201:080650:` for ff:42:01 and 08:06:50.

    It has fewer than the rule may match, and never others. A star between colons is two digits: as a star it
    would reach into the next interface.
    """
    texts = [_STAR_BETWEEN.sub("??", text) for pattern in patterns for text in pattern.text.split("|")]
    if not all(map(_INTERFACE.fullmatch, texts)):
        return None
    return f'{udev}=="' + "|".join(f"*:{text.replace(':', '')}:*" for text in texts) + '"'


def _joined(patterns: Iterable[Pattern]) -> str:
    """The patterns as one of udev's; empty where that would mean something else."""
    texts = [pattern.text for pattern in patterns]
    sound = all(_SAFE.fullmatch(text) and not ("[" in text and "|" in text) for text in texts)
    return "|".join(texts) if sound else ""
