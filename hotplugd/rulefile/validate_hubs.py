"""Checks single values of the section `hubs`. A check returns a Complaint, or None."""

from __future__ import annotations

import re
from typing import Final

from hotplugd.model.text import quoted
from hotplugd.rules.complaint import Complaint
from hotplugd.rules.forms import HUB, LABEL

# As udev writes it (systemd: udev-builtin-path_id.c). No chain is longer (USB 3.2, 10.1).
_PORT: Final = "[1-9][0-9]{0,2}"
_CONTROLLER: Final = r"[a-z]+-(?:(?!-usb(?:v[0-9])?-[0-9])[A-Za-z0-9_.:@,+-])+"
_PATH: Final = re.compile(rf"{_CONTROLLER}(?:-usb(?:v[23])?-0:{_PORT}(?:\.{_PORT}){{0,4}})?", re.ASCII)
_INTERFACE: Final = re.compile(r"(.+-usb(?:v[23])?-0:[0-9.]+):[0-9*]+(?:\.[0-9*]+)?", re.ASCII)
_BELOW: Final = re.compile(rf"{_PORT}(?:\.{_PORT}){{0,5}}", re.ASCII)
_WILDCARDS: Final = frozenset("*?[|")

NAME_JSON: Final = f"^{HUB.pattern}$"
LABEL_JSON: Final = f"^{LABEL.pattern}$"
BELOW_JSON: Final = f"^{_BELOW.pattern}$"


def name(text: str) -> Complaint | None:
    """A hub's name, with which an instance's may begin."""
    if HUB.fullmatch(text):
        return None
    hint = "1 to 32 letters, digits and dashes, a letter first and no dash last, such as shelf-1"
    return Complaint(f"'{quoted(text)}' is no name for a hub", hint)


def label(text: str) -> Complaint | None:
    """What a port of a hub is called, with which an instance's name may end."""
    if LABEL.fullmatch(text):
        return None
    hint = "1 to 16 letters, digits and dashes, no dash first or last, such as 4 or front-left"
    return Complaint(f"'{quoted(text)}' is no label for a port", hint)


def path(text: str) -> Complaint | None:
    """ID_PATH of a hub, or of a USB controller."""
    if _PATH.fullmatch(text):
        return None
    hint = "such as pci-0000:00:14.0-usb-0:1.4; `hotplugd topology` shows it"
    of = _INTERFACE.fullmatch(text)
    if of and _PATH.fullmatch(of[1]):
        hint = f"that is an interface of the hub; did you mean '{of[1]}'?"
    elif _WILDCARDS & set(text):
        hint = "wildcards do not work here: a hub has one place"
    return Complaint(f"'{quoted(text)}' is no ID_PATH of a hub", hint)


def serial(text: str) -> Complaint | None:
    """A hub's serial number."""
    if _WILDCARDS & set(text):
        hint = "wildcards do not work here; for a hub without a serial number give its `path`"
        return Complaint(f"'{quoted(text)}' is no hub's serial number", hint)
    return None


def below(text: str) -> Complaint | None:
    """The ports from a hub to one of its ports."""
    if _BELOW.fullmatch(text):
        return None
    hint = "the port's number, such as 4; in a hub that is a tree those on the way to it, such as 4.1"
    return Complaint(f"'{quoted(text)}' is no path of a port below its hub", hint)
