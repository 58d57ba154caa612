"""What must hold, whatever the input was."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from hotplugd.model.entry import MARK, is_ours, target_of
from hotplugd.model.names import is_instance_name, is_reserved_path
from hotplugd.model.values import Device
from hotplugd.plan.change import Change
from hotplugd.rulefile.diagnostics import Diagnostic, Related
from hotplugd.rules.ruleset import RuleSet

# Controls, what turns the reading direction or is not seen, halves of characters, ends of lines.
_UNSHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_SLOT: Final = re.compile(r"/dev/hotplugd/[A-Za-z0-9:-]+(\.r)?", re.ASCII)
_PATH: Final = re.compile(r"/dev(/[A-Za-z0-9_:+@,=-]+)+", re.ASCII)
_LINK: Final = re.compile(r"/dev(/[A-Za-z0-9_:+@,=.-]+)+", re.ASCII)
_INTERFACE: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{1,14}", re.ASCII)
_ENTRY: Final = re.compile(r"hp-[0-9a-f]{16}")


def can_be_shown(*texts: str, lines: bool = False) -> None:
    """Nothing in them moves a cursor, ends a line (but where there are lines) or hides."""
    for text in texts:
        plain = text.replace("\n", "") if lines else text
        if not plain.isascii() or not plain.isprintable():
            found = {char for char in plain if unicodedata.category(char) in _UNSHOWN}
            assert not found, f"{sorted(map(ascii, found))} in {text!a}"


def is_a_place(found: Diagnostic | Related, text: str | None = None) -> None:
    """A diagnostic is at a place that there is, and can be shown."""
    assert found.line >= 1
    assert found.column >= 1
    assert found.width >= 1
    assert found.column <= len(found.source) + 1
    if text is not None and found.source:
        lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text.removeprefix("\ufeff"))
        assert lines[found.line - 1] == found.source
    can_be_shown(found.message)
    can_be_shown(found.render(), lines=True)
    if isinstance(found, Diagnostic):
        can_be_shown(found.hint)
        if found.related is not None:
            is_a_place(found.related, text)


def agree(rules: RuleSet, device: Device) -> None:
    """Deciding and explaining are one matcher."""
    decided, verdicts = rules.decide(device), rules.explain(device)
    matching = [each.rule for each in verdicts if each.failed is None]
    if decided is None or decided.anchor is None:
        assert matching == ([decided.rule] if decided is not None else [])
    else:
        assert not matching or rules.rules.index(matching[0]) > rules.rules.index(decided.rule)
    assert len(verdicts) == len(rules.rules) or matching
    for each in verdicts:
        if each.failed is not None:
            can_be_shown(str(each.failed))


def is_legal(change: Change, instance: str) -> None:
    """An entry that goes to the server is ours and names nothing that it should not, nor do its links."""
    config = (entry := change.entry).config
    assert _ENTRY.fullmatch(entry.name)
    assert is_ours(entry)
    assert config[MARK + "instance"].split("/")[-1] == instance
    assert is_instance_name(instance)
    assert config["type"] in ("unix-char", "unix-block", "nic", "gpu", "pci", "usb")
    assert all(isinstance(each, str) for pair in config.items() for each in pair)
    place = target_of(entry)
    if config["type"].startswith("unix-"):
        assert _SLOT.fullmatch(config["source"])
        assert _PATH.fullmatch(place)
        assert not is_reserved_path(place)
        assert config["required"] == "false"
    elif config["type"] == "nic":
        assert _INTERFACE.fullmatch(place)
        assert _INTERFACE.fullmatch(config["parent"])
    for link in change.want.links if change.want is not None else ():
        assert _LINK.fullmatch(link)
        assert not {".", ".."} & set(link.split("/"))
    for key in ("uid", "gid", "busnum", "devnum"):
        assert config.get(key, "0").isdecimal()
        assert config.get(key, "0").isascii()
    assert re.fullmatch("[0-7]{4}", config.get("mode", "0660"))


def keys_are_told_once(pairs: Iterable[tuple[str, str]]) -> None:
    """Of the properties of a uevent."""
    keys = [key for key, _ in pairs]
    assert len(set(keys)) == len(keys)
