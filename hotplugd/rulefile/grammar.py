"""The rule language as tables: every key, what it takes and what it means.

`check` reads files by these tables, and `schema` makes the JSON Schema of them, so that the two cannot
differ. A new key starts with a row here.

By hand rather than with pydantic: its import alone takes 110 ms of the 150 that `hotplugd check` may,
it resolves values before it judges them where the text as written is what counts, and its places would
have to be mapped back to the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from hotplugd.rulefile import validate
from hotplugd.rulefile.validate import Complaint
from hotplugd.rules.pattern import Pattern

Shape = Literal[
    "text",
    "texts",
    "flag",
    "patterns",
    "named patterns",
    "match",
    "matches",
    "attach",
    "companions",
    "rules",
]
"""What kind of value a key takes; "texts" and "patterns" are one or a list."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the language.

    about   what it means, for the JSON Schema
    text    judges a text (for "named patterns": a name)
    pattern    judges a pattern
    hex     its values are numbers in hex, compared without regard to case
    json    a regular expression for editors
    """

    name: str
    shape: Shape
    about: str
    text: Callable[[str], Complaint | None] | None = None
    pattern: Callable[[Pattern], Complaint | None] | None = None
    hex: bool = False
    json: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The keys of one kind of mapping. what: how messages call it."""

    what: str
    keys: tuple[Key, ...]

    def key(self, name: str) -> Key | None:
        """The key of that name, if there is one."""
        return next((key for key in self.keys if key.name == name), None)


FILE: Final = Table(
    "a rule file",
    (
        Key(
            "rules",
            "rules",
            "The rules, in the order in which they count: the first match wins.",
            required=True,
        ),
    ),
)

RULE: Final = Table(
    "a rule",
    (
        Key(
            "name",
            "text",
            "What messages call the rule. No two rules have the same name.",
            text=validate.rule_name,
            required=True,
        ),
        Key("match", "match", "Which devices it takes: all keys must match.", required=True),
        Key("attach", "attach", "Where the device goes."),
        Key("ignore", "flag", "The device goes nowhere, whatever later rules say."),
    ),
)

MATCH: Final = Table(
    "`match`",
    (
        Key(
            "subsystem",
            "patterns",
            "udev's SUBSYSTEM: tty, block, net, ... Without it a rule means USB devices (usb, usb_device).",
        ),
        Key("devtype", "patterns", "udev's DEVTYPE: usb_device, usb_interface, disk, partition, ..."),
        Key("kernel", "patterns", "The kernel's name of the device: ttyUSB0, sdb, 1-4.2."),
        Key("driver", "patterns", "The driver that is bound to the device."),
        Key(
            "id",
            "patterns",
            "vendor:product in hex, as lsusb prints it: 0403:6001.",
            pattern=validate.vendor_and_product,
            hex=True,
            json="^([0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}|.*[*?\\[|].*)$",
        ),
        Key(
            "vendor_id",
            "patterns",
            "The vendor's number: four hex digits.",
            pattern=validate.number,
            hex=True,
            json="^([0-9A-Fa-f]{4}|.*[*?\\[|].*)$",
        ),
        Key(
            "product_id",
            "patterns",
            "The product's number: four hex digits.",
            pattern=validate.number,
            hex=True,
            json="^([0-9A-Fa-f]{4}|.*[*?\\[|].*)$",
        ),
        Key("serial", "patterns", "The serial number, of the device or the USB device that it hangs from."),
        Key(
            "port",
            "patterns",
            "The USB port: 1-4.2. It stays when the device is replugged there. Its first number is the "
            "bus's, which another boot may give to another controller: with several of them use `path`.",
            pattern=validate.port,
        ),
        Key(
            "path",
            "patterns",
            "Where the device is connected, whatever number its bus has: udev's ID_PATH, "
            "pci-0000:00:14.0-usb-0:4.2. What hangs from a USB device has the interface at its end: "
            "…:4.2:1.0, or …:4.2:* for any. With usbv2 or usbv3 for usb it means one of a controller's two "
            "buses alone.",
        ),
        Key(
            "mac",
            "patterns",
            "A network interface's permanent hardware address: 00:e0:4c:68:01:02.",
            pattern=validate.mac,
            hex=True,
            json="^([0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}|.*[*?\\[|].*)$",
        ),
        Key(
            "interface",
            "patterns",
            "class:subclass:protocol of any of the USB device's interfaces, in hex: ff:42:01; in whichever "
            "configuration and alternate setting.",
            pattern=validate.interface,
            hex=True,
            json="^([0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){2}|.*[*?\\[|].*)$",
        ),
        Key("property", "named patterns", "udev's properties (ENV): name and pattern."),
        Key("attr", "named patterns", "sysfs attributes (ATTR): name and pattern.", text=validate.attribute),
        Key("parent", "match", "A whole match that some device above this one must meet."),
        Key("any", "matches", "Whole matches, one of which must be met."),
        Key("not", "match", "A whole match that must not be met."),
    ),
)

_LINK: Final = Key(
    "link",
    "texts",
    "A link inside that leads to the node, or several: below /dev, dots allowed; may be templates.",
    text=validate.link,
    json="^/dev/.+$",
)

ATTACH: Final = Table(
    "`attach`",
    (
        Key(
            "to",
            "texts",
            "The instance or instances; a name may be a template: ci-{serial}.",
            text=validate.instance,
            required=True,
        ),
        Key("project", "text", "The project of the instances, if not `default`.", text=validate.project),
        Key(
            "path",
            "text",
            "The node's path inside, below /dev; may be a template. Left out, it is the host's.",
            text=validate.node_path,
            json="^/dev/[^.]+$",
        ),
        _LINK,
        Key(
            "as",
            "text",
            "What goes in: node, nic, gpu or pci. Left out, it follows from the subsystem.",
            text=validate.kind,
            json="^(node|nic|gpu|pci)$",
        ),
        Key(
            "name",
            "text",
            "The name of the network interface inside. Left out, it is the host's.",
            text=validate.interface_name,
        ),
        Key("uid", "text", "The owner's number inside.", text=validate.uid, json=validate.NUMBER_JSON),
        Key("gid", "text", "The group's number inside.", text=validate.gid, json=validate.NUMBER_JSON),
        Key("user", "text", "The owner's name, looked up inside.", text=validate.user),
        Key("group", "text", "The group's name, looked up inside.", text=validate.group),
        Key("mode", "text", 'Permissions in octal: "0660".', text=validate.mode, json=validate.MODE_JSON),
        Key("force", "flag", "Attach what is otherwise kept on the host: hubs, and what it uses itself."),
        Key(
            "share",
            "flag",
            "Whether the device may be in several instances at once. Left out, a GPU may.",
        ),
        Key(
            "with",
            "companions",
            "Devices below this one that go along: subsystems, `partition`, or items with match and path.",
        ),
    ),
)

COMPANION: Final = Table(
    "an item of `with`",
    (
        Key("match", "match", "Which devices below this one go along.", required=True),
        Key(
            "path",
            "text",
            "The node's path inside, as under `attach`.",
            text=validate.node_path,
            json="^/dev/[^.]+$",
        ),
        _LINK,
    ),
)

NEXT_TO: Final[dict[str, frozenset[str]]] = {
    RULE.what: frozenset(key.name for key in (*MATCH.keys, *ATTACH.keys)),
    MATCH.what: frozenset(key.name for key in ATTACH.keys),
    ATTACH.what: frozenset(key.name for key in MATCH.keys),
    FILE.what: frozenset(key.name for key in RULE.keys),
}
"""By table: keys that belong elsewhere."""

BELONGS: Final[dict[str, str]] = {
    **{key.name: "under `attach`" for key in ATTACH.keys},
    **{key.name: "under `match`" for key in MATCH.keys if key.name != "path"},
    "path": "under `match` or `attach`",
    "name": "in a rule, or under `attach` for a network interface",
    **{
        key.name: "in a rule, that is, in an item of the list `rules`"
        for key in RULE.keys
        if key.name != "name"
    },
}

_KEEP: Final = "to keep it on the host: `ignore: true`"

INSTEAD: Final[dict[str, str]] = {
    "model": 'write `property: {ID_MODEL: "Pixel*"}`',
    "id_model": 'write `property: {ID_MODEL: "Pixel*"}`',
    "product_name": 'write `property: {ID_MODEL: "Pixel*"}`',
    "manufacturer": 'write `property: {ID_VENDOR: "Google*"}`',
    "id_vendor": 'write `property: {ID_VENDOR: "Google*"}`',
    "vendor_name": 'write `property: {ID_VENDOR: "Google*"}`',
    "devname": "write `kernel`, with its `subsystem`: `subsystem: tty, kernel: ttyUSB0`",
    "devnode": "write `kernel`, with its `subsystem`: `subsystem: tty, kernel: ttyUSB0`",
    "node": "write `kernel`, with its `subsystem`: `subsystem: tty, kernel: ttyUSB0`",
    "class": "write `interface`, as in `interface: 08:*:*`",
    **dict.fromkeys(("detach", "deny", "block", "exclude", "forbid", "drop", "reject", "skip"), _KEEP),
}
"""What to write for what others call a key and no key here means, in lower case."""

EXPECTED: Final[dict[str, str]] = {
    "rules": "begin each rule with `- `",
    "any": "begin each match with `- `",
    "attach": "write where to: `attach: {to: runner-1}`",
    "match": 'write which key: `match: {id: "18d1:4ee7"}`',
    "not": 'write which key: `not: {interface: "03:*"}`',
    "parent": "write which key: `parent: {driver: ftdi_sio}`",
    "property": 'write `property: {ID_MODEL: "Pixel*"}`',
    "attr": 'write `attr: {bMaxPower: "500mA"}`',
    "to": "`to` is a name, a list (every one of them gets it), or a template",
}
"""By key: what to write where its value is of another kind."""

CALLED_ELSEWHERE: Final[dict[str, str]] = {
    "vendor": "vendor_id",
    "vendorid": "vendor_id",
    "vid": "vendor_id",
    "idvendor": "vendor_id",
    "id_vendor_id": "vendor_id",
    "product": "product_id",
    "productid": "product_id",
    "pid": "product_id",
    "idproduct": "product_id",
    "id_model_id": "product_id",
    "id_serial_short": "serial",
    "serial_number": "serial",
    "id_path": "path",
    "id_usb_interfaces": "interface",
    "interfaces": "interface",
    "kernels": "parent",
    "attrs": "parent",
    "subsystems": "parent",
    "drivers": "parent",
    "env": "property",
    "properties": "property",
    "attributes": "attr",
    "or": "any",
    "instance": "to",
    "instances": "to",
    "container": "to",
    "containers": "to",
    "target": "to",
    "owner": "user",
    "permissions": "mode",
    "macaddress": "mac",
    "address": "mac",
    "hwaddr": "mac",
    "shared": "share",
    "type": "as",
    "along": "with",
    "symlink": "link",
    "links": "link",
    "children": "with",
}
"""What other programs and udev call a key, in lower case."""
