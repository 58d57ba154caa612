"""Finds serial numbers and people's names in JSON documents, so that others do not read them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from hotplugd.app.masks import Masks
from hotplugd.rulefile.serials import KEY

_PCI: Final = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]")
_MAC: Final = re.compile(r"(?i)[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}")
_USERS: Final = frozenset({"user", "login"})


@dataclass(slots=True)
class FoundSerials:
    """The masks of serial numbers and of people's names that were found. places: names of devices that are no
    serial numbers
    """

    masks: Masks = field(default_factory=Masks)
    places: set[str] = field(default_factory=set)

    def secret(self, value: str) -> None:
        """Mask a serial number, or another value that stays with a device."""
        if value not in self.places and not _PCI.fullmatch(value):
            self.masks.learn("mac" if _MAC.fullmatch(value) else "serial", value)

    def learn(self, found: object, key: str = "") -> None:
        """Mask what a JSON document has of serial numbers and of people's names."""
        if isinstance(found, Mapping):
            for name, value in found.items():
                # ID_SERIAL has the model in it where there is a short one.
                if not (name == "ID_SERIAL" and found.get("ID_SERIAL_SHORT")):
                    self.learn(value, str(name))
        elif isinstance(found, list):
            for each in found:
                self.learn(each, key)
        elif isinstance(found, str):
            self._learn_text(found, key)

    def _learn_text(self, text: str, key: str) -> None:
        if KEY.search(key):
            self.secret(text)
        elif key in _USERS:
            self.masks.learn("user", text)
        elif text.startswith("serial:"):
            self.secret(text.removeprefix("serial:"))
        elif text.startswith(("{", "[")):
            with suppress(ValueError, RecursionError):
                self.learn(json.loads(text))
