"""Warns of matches that can hardly be met, and of rules that do what hardly anybody means."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from itertools import chain
from typing import Final

from hotplugd.model.names import is_instance_name
from hotplugd.model.text import printable, quoted
from hotplugd.plan.kinds.registry import kind_named
from hotplugd.rules.keys import (
    ATTR,
    DEVTYPE,
    DRIVER,
    ID,
    KERNEL,
    MAC,
    PATH,
    PRODUCT_ID,
    PROPERTY,
    SERIAL,
    SUBSYSTEM,
    VENDOR_ID,
    Form,
    MatchKey,
)  # fmt: skip
from hotplugd.rules.match import KeyTest, Match
from hotplugd.rules.ruleset import Attach, Rule
from hotplugd.rules.subsystems import NODELESS, SUBSYSTEMS
from hotplugd.rules.template import key_named, parse_template

Doubt = tuple[str, str]
"""What is doubtful about a rule, and what to do: `rule 'x' ` stands before the first."""

# The drivers of whole USB devices (Linux: struct usb_device_driver); all others are of interfaces.
_USB_DRIVERS: Final = ("usb", "usbip-host", "apple-mfi-fastcharge", "usbfs")
# Properties in lower case that are real: of Debian's android-sdk-platform-tools-common.
_LOWER: Final = frozenset({"adb_user"})
_SUBSYSTEM_OF: Final = {
    "serial": "tty", "uart": "tty", "ttyusb": "tty", "disk": "block", "usb_device": "usb",
    "network": "net", "ethernet": "net", "audio": "sound", "alsa": "sound", "snd": "sound", "gpu": "drm",
    "camera": "video4linux", "video": "video4linux", "v4l": "video4linux", "storage": "block", "dri": "drm",
}  # fmt: skip
# Syntax of regular expressions, which means nothing in udev's patterns.
_REGEX: Final = re.compile(r"(?:^|[^0-9*?])\.\*|\.\+|\][+{]|\\[dwsDWS]|^\^|\$$|\([^()|]*\|[^()]*\)|\)[+*?]$")
_BRACES: Final = re.compile(r"\{[^{},]*,[^{}]*\}")
_BLANK: Final = re.compile(r"^\s|\s$|\s\||\|\s")
# A node's path, or the end of one. The kernel's own names have no folder; some drivers' do: dahdi/ctl.
_IN_DEV: Final = re.compile(
    "/|(accel|bus|cpu|disk|dma_heap|dri|dvb|infiniband|input|mapper|net|serial|snd|usb|v4l|vfio)/"
)
_GPUS: Final = frozenset({"drm"})
_MOST_NAMES: Final = 1_000
_LONGEST: Final = 32
# Keys whose values a device below a USB device has from it.
_INHERITED: Final = (ID, VENDOR_ID, PRODUCT_ID, SERIAL)


def hardly(rule: Rule, subsystems: Collection[str] = ()) -> Iterator[Doubt]:
    """What is doubtful about one rule.

    subsystems  those that this host has, besides the kernel's own; none where nobody looked
    """
    yield from _kinds_of_devices(rule.match)
    matches = [rule.match]
    if rule.attach is not None:
        matches += [companion.match for companion in rule.attach.companions]
        yield from _no_node(rule.match, rule.attach)
        yield from _instances(rule, rule.attach)
        for companion in rule.attach.companions:
            yield from _not_below(rule.match, companion.match)
    seen = set[Doubt]()
    for match in matches:
        for test in match.key_tests():
            for doubt in chain(_subsystem(test, subsystems), _values(test)):
                if doubt not in seen:
                    seen.add(doubt)
                    yield doubt


def _kinds_of_devices(match: Match) -> Iterator[Doubt]:
    """Keys that devices of the rule's subsystem do not have."""
    subsystem, devtype = match.test_of(SUBSYSTEM), match.test_of(DEVTYPE)
    if match.test_of(MAC) is not None and subsystem is not None and not subsystem.matches("net"):
        yield "asks for `mac`, which network interfaces alone have", "add `subsystem: net`"
    driver = match.test_of(DRIVER)
    whole = (
        subsystem is not None and _is(subsystem, "usb") and devtype is not None and _is(devtype, "usb_device")
    )
    if whole and driver is not None and not any(map(driver.matches, _USB_DRIVERS)):
        yield (
            f"asks for the {_plain(driver)} of a USB device, which is `usb`: others are of its interfaces",
            "take `interface` for the device; for a node of the driver's add `subsystem`, such as tty",
        )


def _no_node(match: Match, attach: Attach) -> Iterator[Doubt]:
    subsystem, devtype = match.test_of(SUBSYSTEM), match.test_of(DEVTYPE)
    usb = subsystem is not None and _is(subsystem, "usb")
    if usb and devtype is not None and _is(devtype, "usb_interface") and not attach.companions:
        hint = "leave `devtype` out, and say which interface the device has: `interface: ff:42:01`"
        yield "means interfaces of USB devices, which have no node that could go anywhere", hint
    if (nodeless := without_node(match)) and not attach.companions:
        yield f"attaches nothing: devices of subsystem {nodeless} have no node", NODELESS[nodeless]


def without_node(match: Match) -> str:
    """A subsystem without nodes, where a match means such ones alone; else empty."""
    subsystem = match.test_of(SUBSYSTEM)
    if subsystem is None or not subsystem.is_exact or not subsystem.exact <= NODELESS.keys():
        return ""
    return min(subsystem.exact, default="")


def _subsystem(test: KeyTest, also: Collection[str]) -> Iterator[Doubt]:
    if test.key.name != SUBSYSTEM.name:
        return
    for name in sorted(test.exact - SUBSYSTEMS - frozenset(also)):
        close = get_close_matches(name.lower()[:_LONGEST], SUBSYSTEMS, 1, 0.75)
        meant = _SUBSYSTEM_OF.get(name.lower()) or (close[0] if close else "")
        hint = f"did you mean '{meant}'?" if meant else "`hotplugd devices --all` shows those of this host"
        yield f"asks for the subsystem '{quoted(name)}', which is none of Linux's that are known", hint


def _values(test: KeyTest) -> Iterator[Doubt]:
    """Patterns that no value is like."""
    group, _, name = test.key.name.partition(".")
    if group == PROPERTY.name and name != name.upper() and name not in _LOWER:
        hint = f"did you mean '{quoted(name.upper())}'?"
        yield f"asks for the property '{quoted(name)}', and udev's have upper case", hint
    for pattern in test.patterns:
        text, where = pattern.text, f"{test.key.name}: '{quoted(pattern.text)}'"
        if test.key.name == KERNEL.name and _IN_DEV.match(text):
            hint = f"did you mean '{quoted(text.rpartition('/')[2])}'?"
            yield f"asks for {where}, which is a node's path and not the kernel's name", hint
        if test.key.name == KERNEL.name and "!" in text.replace("[!", ""):
            hint = f"did you mean '{quoted(text.replace('!', '/'))}'?"
            yield f"asks for {where}, and udev has a slash where the kernel's name has `!`", hint
        if _BLANK.search(text) and group != ATTR.name:
            hint = f"did you mean '{quoted(re.sub(r' *[|] *', '|', text.strip()))}'?"
            yield f"asks for {where}, where blanks count", hint
        elif _is_regex(test.key, text):
            hint = "`*` is any text, `?` any character, `[0-9]` one of these, and `a|b` either"
            yield f"asks for {where}, which looks like a regular expression, and patterns are udev's", hint
        elif group not in (PROPERTY.name, ATTR.name) and (_BRACES.search(text) or "," in text):
            inner = text.strip("{}") if text.startswith("{") else text
            several = quoted(", ".join(filter(None, re.split(r"\s*,\s*", inner))))
            hint = f"several values are a list: `[{several}]`"
            yield f"asks for {where}, and a comma stands for itself", hint


def _is_regex(key: MatchKey, text: str) -> bool:
    if key.form.is_hex or (key.form is Form.PORT or key.name == PATH.name):
        # A star after a dot is any port of a hub, there.
        return any(each in text for each in (".+", "\\d", "]+", "^", "$"))
    return _REGEX.search(text) is not None


def _instances(rule: Rule, attach: Attach) -> Iterator[Doubt]:
    """Names in `to` that are there twice, or none, or more than one."""
    names = list(dict.fromkeys(attach.to))
    if len(names) < len(attach.to):
        twice = next(name for name in names if attach.to.count(name) > 1)
        yield f"names the instance '{quoted(twice)}' twice", "once is enough"
    for template in names:
        if (illegal := _illegal(template, rule)) is not None:
            hint = "a name begins with a letter and has letters, digits and dashes: write ci-{serial}"
            yield (
                f"makes the name '{quoted(illegal)}' of '{quoted(template)}', which no instance can have",
                hint,
            )
    subsystem = rule.match.test_of(SUBSYSTEM)
    of = subsystem.exact if subsystem is not None and subsystem.is_exact else frozenset[str]()
    shared = kind_named(attach.kind).shared if attach.kind is not None else of == _GPUS
    if len(names) > 1 and attach.share is None and not shared:
        yield (
            f"puts each of its devices into all of {len(names)} instances at once",
            "for one device in one instance write a rule for each; `share: true` says that all are meant",
        )


def _illegal(template: str, rule: Rule) -> str | None:
    """A name that the template makes of a value that the rule lists, and that is none."""
    parts = parse_template(template)
    named = {part.text for part in parts if part.is_key}
    if len(named) != 1:
        return None
    key = key_named(named.pop(), rule.keys)
    test = rule.match.test_of(key)
    if test is None or not test.is_exact or len(test.exact) > _MOST_NAMES:
        return None
    made = ("".join(value if part.is_key else part.text for part in parts) for value in sorted(test.exact))
    return next((name for name in made if not is_instance_name(name)), None)


def _not_below(match: Match, below: Match) -> Iterator[Doubt]:
    """What is asked of devices below and is the USB device's own, which is another."""
    for key in _INHERITED:
        own, theirs = match.test_of(key), below.test_of(key)
        if own is None or theirs is None or not (own.is_exact and theirs.is_exact):
            continue
        if own.exact.isdisjoint(theirs.exact):
            yield (
                f"takes nothing along by `with` and {_plain(theirs)}: what is below has {_plain(own)}",
                "a device of its own, such as a cable beside a phone, has a rule of its own",
            )
            return


def _is(test: KeyTest, value: str) -> bool:
    return test.is_exact and test.exact == {value}


def _plain(test: KeyTest) -> str:
    return printable(str(test))
