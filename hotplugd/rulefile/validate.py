"""Checks single values of a rule file. A check takes a value as written and returns a Complaint, or None."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, assert_never

from hotplugd.model.names import is_instance_name, is_reserved_path
from hotplugd.model.text import printable, quoted
from hotplugd.plan.kinds.registry import kind_names
from hotplugd.rules.complaint import Complaint
from hotplugd.rules.keys import Form, MatchKey
from hotplugd.rules.template import Part, TemplateError, parse_template
from hotplugd.rules.udev_links import FOLDERS

_MODE: Final = re.compile(r"0?[0-7]{3}")
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
_LARGEST_ID: Final = 2**32 - 2
_USER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]{0,254}\$?", re.ASCII)
_NAME_PART: Final = re.compile(r"[A-Za-z0-9-]*", re.ASCII)
_PATH_PART: Final = re.compile(r"[A-Za-z0-9_:+@,=/-]*", re.ASCII)
_LINK_PART: Final = re.compile(r"[A-Za-z0-9_:+@,=./-]*", re.ASCII)
_PROJECT: Final = re.compile(r"""[^\s/_'"*?#&%\\\x00-\x1f\x7f]{1,63}""")
_LONGEST_INSTANCE: Final = 63
_LONGEST_RULE: Final = 64
_LONGEST_DESCRIPTION: Final = 500
# Linux: net/core/dev.c, dev_valid_name; LXD takes less: shared/validate, IsInterfaceName.
_INTERFACE_NAME: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{1,14}", re.ASCII)
_SHORTEST_INTERFACE: Final = 2

LINK_JSON: Final = f"^(/dev/.+|{'|'.join(FOLDERS)})$"
MODE_JSON: Final = "^0?[0-7]{3}$"
NUMBER_JSON: Final = "^(0|[1-9][0-9]{0,9})$"


def match_json(form: Form) -> str:
    """A regular expression for the JSON Schema: a value of this form, or any pattern; empty: any text."""
    match form:
        case Form.TEXT | Form.PORT | Form.LOCATION:
            return ""
        case Form.NUMBER:
            exact = "[0-9A-Fa-f]{4}"
        case Form.ID:
            exact = "[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}"
        case Form.INTERFACE:
            exact = "[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){2}"
        case Form.MAC:
            exact = "[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}"
        case _:
            assert_never(form)
    return rf"^({exact}|.*[*?\[|].*)$"


def kind(text: str) -> Complaint | None:
    """What a device goes in as."""
    names = kind_names()
    if text in names:
        return None
    return Complaint(f"'{quoted(text)}' is nothing that a device can go in as", f"one of {', '.join(names)}")


def interface_name(text: str, keys: Sequence[MatchKey]) -> Complaint | None:
    """A network interface's name, or a template that can become one."""
    parts = _parts(text, keys)
    if isinstance(parts, Complaint):
        return parts
    if any(part.is_key for part in parts):
        # As long as may be where each value is one character.
        text = "".join("x" if part.is_key else part.text for part in parts).ljust(_SHORTEST_INTERFACE, "x")
    else:
        text = "".join(part.text for part in parts)
    if _INTERFACE_NAME.fullmatch(text) and text not in ("..", "lo"):
        return None
    hint = "2 to 15 letters, digits, _ . and -, no dash first, such as eth0"
    return Complaint(f"'{quoted(text)}' is no name for a network interface", hint)


def attribute(name: str) -> Complaint | None:
    """A sysfs attribute's name, which may be below a folder of the device's: `power/level`."""
    if name.startswith("/") or ".." in name.split("/"):
        return Complaint(f"'{quoted(name)}' is not the name of an attribute of the device itself")
    return None


def rule_name(text: str) -> Complaint | None:
    """Short, and fit to be shown as it is."""
    if len(text) > _LONGEST_RULE:
        return Complaint(f"the name has {len(text)} characters; {_LONGEST_RULE} is the most")
    if printable(text) != text or not text.isprintable():
        return Complaint(f"the name '{quoted(text)}' has characters that cannot be shown")
    return None


def description(text: str) -> Complaint | None:
    """What a rule is for: one paragraph, fit to be shown."""
    if len(text) > _LONGEST_DESCRIPTION:
        return Complaint(f"{len(text)} characters; {_LONGEST_DESCRIPTION} is the most")
    if printable(text) != text.replace("\\", "\\\\"):
        return Complaint(f"'{quoted(text)}' has characters that cannot be shown", "write one line of text")
    return None


def mode(text: str) -> Complaint | None:
    """Octal, of three digits or of four with a zero first."""
    if _MODE.fullmatch(text):
        return None
    if re.fullmatch(r"[1-7][0-7]{3}", text):
        return Complaint(f"mode '{text}' has setuid, setgid or sticky bits, which no device needs")
    hint = 'three octal digits, such as "0660"'
    if digits := re.fullmatch(r"0o([0-7]{3})", text):
        hint = f'did you mean "0{digits[1]}"?'
    return Complaint(f"'{quoted(text)}' is no mode", hint)


def _numeric_id(text: str) -> Complaint | None:
    if _DECIMAL.fullmatch(text) and int(text) <= _LARGEST_ID:
        return None
    hint = f"did you mean '{text.lstrip('0')}'?" if re.fullmatch(r"0[0-9]+", text, re.ASCII) else ""
    return Complaint(f"'{quoted(text)}' is no number from 0 to {_LARGEST_ID}", hint)


def uid(text: str) -> Complaint | None:
    """A user's number."""
    return _numeric(text, "user")


def gid(text: str) -> Complaint | None:
    """A group's number."""
    return _numeric(text, "group")


def _numeric(text: str, key: str) -> Complaint | None:
    complaint = _numeric_id(text)
    if complaint is not None and _USER.fullmatch(text):
        return Complaint(complaint.message, f"names go under `{key}`")
    return complaint


def user(text: str) -> Complaint | None:
    """A user's name."""
    return _account(text, "uid")


def group(text: str) -> Complaint | None:
    """A group's name."""
    return _account(text, "gid")


def _account(text: str, key: str) -> Complaint | None:
    if _USER.fullmatch(text):
        return None
    hint = f"numbers go under `{key}`" if text.isdecimal() else ""
    return Complaint(f"'{quoted(text)}' is no name that a container's users or groups can have", hint)


def project(text: str) -> Complaint | None:
    """A project's name, as LXD and Incus allow it, less what would need quoting in a URL."""
    if _PROJECT.fullmatch(text) and text not in (".", "..") and text.isprintable():
        return None
    return Complaint(f"'{quoted(text)}' is no legal name of a project")


def instance(text: str, keys: Sequence[MatchKey]) -> Complaint | None:
    """An instance's name, or a template that can become one."""
    parts = _parts(text, keys)
    if isinstance(parts, Complaint):
        return parts
    fixed = "".join(part.text for part in parts if not part.is_key)
    if not any(part.is_key for part in parts):
        legal = is_instance_name(fixed)
    else:
        first, last = parts[0], parts[-1]
        legal = (
            len(fixed) < _LONGEST_INSTANCE
            and _NAME_PART.fullmatch(fixed) is not None
            and (first.is_key or is_instance_name(first.text[:1]))
            and (last.is_key or not last.text.endswith("-"))
        )
    if not legal:
        hint = "1 to 63 letters, digits and dashes, a letter first and no dash last"
        if set("*?[|") & set(fixed):
            hint = (
                "`to` takes no wildcards: list the instances, or write a template, ci-{serial}, or a `pool`"
            )
        return Complaint(f"'{quoted(text)}' is no legal name of an instance", hint)
    named = {part.text for part in parts if part.is_key}
    if never := next((key for key in keys if key.name in named and key.form.has_colons), None):
        hint = "take '{vendor_id}-{product_id}'" if never.form is Form.ID else ""
        return Complaint(f"'{{{never.name}}}' has colons, which no instance's name can have", hint)
    return None


def node_path(text: str, keys: Sequence[MatchKey]) -> Complaint | None:
    """A path for a node below /dev, or a template that can become one."""
    parts = _parts(text, keys)
    if isinstance(parts, Complaint):
        return parts
    fixed = "".join("x" if part.is_key else part.text for part in parts)
    return next((complaint for wrong, complaint in _path_faults(fixed, quoted(text)) if wrong), None)


def link(text: str, keys: Sequence[MatchKey]) -> Complaint | None:
    """A path for a link below /dev, a template that can become one, or a folder of udev's links."""
    if text.startswith("by-") and "/" not in text:
        hint = f"one of {', '.join(FOLDERS)}"
        other = Complaint(f"'{quoted(text)}' is none of udev's folders of links", hint)
        return None if text in FOLDERS else other
    parts = _parts(text, keys)
    if isinstance(parts, Complaint):
        return parts
    fixed = "".join("x" if part.is_key else part.text for part in parts)
    if any(part in (".", "..") for part in fixed.split("/")):
        return Complaint(f"'{quoted(text)}' leads back by '.' or '..'", "write the path as it is")
    if _LINK_PART.fullmatch(fixed) is None:
        return Complaint(f"'{quoted(text)}' is not made of letters, digits and _ : + @ , = . - alone")
    if is_reserved_path(fixed):
        return Complaint(f"'{quoted(text)}' is there in every container", "give another")
    faults = _path_faults(fixed.replace(".", "x"), quoted(text))
    return next((complaint for wrong, complaint in faults if wrong), None)


def _path_faults(fixed: str, shown: str) -> Iterator[tuple[bool, Complaint]]:
    below = f"did you mean '/dev/{shown.removeprefix('dev/')}'?"
    yield not fixed.startswith("/"), Complaint(f"'{shown}' is not an absolute path", below)
    outside = not fixed.startswith("/dev/") or fixed == "/dev/"
    yield outside, Complaint(f"'{shown}' is not below /dev", "nodes elsewhere are not made")
    leaks = "LXD leaves nodes with a dot in their path behind when the device goes"
    yield "." in fixed, Complaint(f"'{shown}' has a dot in it", leaks)
    without = f"did you mean '{shown.rstrip('/')}'?"
    yield fixed.endswith("/"), Complaint(f"'{shown}' ends in a slash", without)
    yield "//" in fixed, Complaint(f"'{shown}' has an empty part")
    illegal = f"'{shown}' is not made of letters, digits and _ : + @ , = - alone"
    yield _PATH_PART.fullmatch(fixed) is None, Complaint(illegal)
    yield is_reserved_path(fixed), Complaint(f"'{shown}' is there in every container", "give another")


def _parts(text: str, keys: Sequence[MatchKey]) -> tuple[Part, ...] | Complaint:
    """The parts of a template, with neighbouring fixed ones joined."""
    try:
        parts = parse_template(text, keys)
    except TemplateError as error:
        return Complaint(str(error), error.hint)
    joined: list[Part] = []
    for part in parts:
        if joined and not part.is_key and not joined[-1].is_key:
            joined[-1] = Part(joined[-1].text + part.text)
        else:
            joined.append(part)
    return tuple(joined)
