"""Devices, rules, instances and what is inside them, made of a feed: nasty wherever somebody could be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from hotplugd.model.entry import (
    MARK_DEVICE,
    MARK_INSTANCE,
    MARK_LINKS,
    MARK_MEMBER,
    MARK_NODE,
    MARK_RULE,
    MARK_SEEN,
    MARK_SLOT,
    MARK_VERSION,
    name_for,
    slot_links,
    slot_prefix,
)
from hotplugd.model.nic_snapshot import remember
from hotplugd.model.server_traits import ServerTraits
from hotplugd.model.values import (
    Descriptors,
    Device,
    Devnum,
    Entry,
    Inside,
    Instance,
    InstanceName,
    Node,
)
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet
from tests.fuzz.feed import Feed

BOX: Final = InstanceName("default", "box")
PROPERTIES: Final = (
    "ID_SERIAL_SHORT", "ID_VENDOR_ID", "ID_MODEL_ID", "ID_USB_INTERFACES", "ID_PATH", "DEVLINKS", "BUSNUM",
    "DEVNUM",
    "ID_FS_LABEL", "NAME", "DEVNAME", "DEVPATH", "SUBSYSTEM", "ACTION", "MAJOR", "SEQNUM", "HOTPLUGD_SLOT",
    "P",
)  # fmt: skip
ATTRS: Final = (
    "serial",
    "idVendor",
    "idProduct",
    "bDeviceClass",
    "product",
    "peer",
    "address",
    "permanent_address",
)
TEXTS: Final = (
    ("{name: t, match: {subsystem: '*'}, "
    "attach: {to: 'ci-{serial}', path: '/dev/t-{serial}', link: '/dev/by-id/{serial}'}}"),
    ("{name: k, match: {subsystem: '*'}, "
    "attach: {to: box, path: '/dev/{serial}', link: ['/dev/x{driver}/{kernel}', '/dev/{path}']}}"),
    "{name: q, match: {subsystem: '*'}, attach: {to: box, path: '/dev/{serial}'}}",
    "{name: o, match: {subsystem: '*'}, attach: {to: '{serial}'}}",
    ("{name: u, match: {vendor_id: '*'}, "
    "attach: {to: ['box', 'a{vendor_id}-{product_id}'], mode: '600', share: true}}"),
    "{name: s, match: {serial: '?*'}, attach: {to: box, user: root, group: 'a.b', force: true}}",
    "{name: p, match: {serial: '*', port: '1-4.2'}, attach: {to: box}}",
    ("{name: l, match: {subsystem: tty, serial: '*'}, "
    "attach: {to: box, link: '/dev/{kernel}.{serial}', uid: 0, gid: 7}}"),
    "{name: n, match: {subsystem: net}, attach: {to: box}}",
    "{name: g, match: {subsystem: 'drm|pci'}, attach: {to: [box, 'g{driver}']}}",
    ("{name: w, match: {id: '*'}, "
    "attach: {to: 'x{serial}', with: [tty, {match: {kernel: '*'}, path: '/dev/{serial}'}]}}"),
    ("{name: a, match: {any: [{property: {P: '*[!a-z]*'}}, {attr: {product: '*e*e*'}}], not: {driver: '?'}}, "
    "attach: {to: box}}"),
    "{name: i, match: {interface: 'ff:42:*', parent: {attr: {serial: '*A*'}}}, ignore: true}",
)  # fmt: skip
EVERY: Final = tuple(parse(f"rules: [{text}]", "fuzz.yaml").rules for text in TEXTS)
ALL: Final = parse(f"rules: [{', '.join(reversed(TEXTS))}]", "fuzz.yaml").rules


def ruleset(feed: Feed) -> RuleSet:
    """One rule that takes much by what devices say, or all of them."""
    return feed.pick((ALL, *EVERY))


def usb_device(feed: Feed) -> Device:
    """A USB device: the kernel named it, but what it says of itself is its own."""
    number = Devnum("char", 189, feed.number(512))
    kernel = feed.pick(("1-4.2", "1-1", "2-1.3.4"))
    return Device(
        f"/sys/devices/pci0000:00/0000:00:14.0/usb1/{kernel}", "usb", kernel, "usb_device",
        feed.pick(("usb", "")), f"/dev/bus/usb/001/{number.minor:03}", number,
        feed.texts(PROPERTIES), feed.texts(ATTRS), None, f"{slot_prefix(number)}{feed.byte()}",
        descriptors=_descriptors(feed), early=feed.chance(8),
    )  # fmt: skip


def _descriptors(feed: Feed) -> Descriptors | None:
    """Numbers in hex are all that comes of a device's own; the faults are ours."""
    if feed.chance():
        return None
    names = feed.several(lambda: feed.pick(("ff:42:01", "08:06:50", "09:00:00", "0e:01:00")), 3)
    return Descriptors(tuple(dict.fromkeys(names)), feed.pick(("", "", "of 2 configurations 1 are there")))


def in_hub(feed: Feed, ports: Sequence[str]) -> Device:
    """A USB device in one of these ports of a hub that is in the controller's first port, or elsewhere."""
    top = "/sys/devices/pci0000:00/0000:00:14.0/usb1"
    root = Device(
        top, "usb", "usb1", "usb_device", properties={"ID_PATH": "pci-0000:00:14.0"},
        attrs={"idProduct": feed.pick(("0002", "0003"))},
    )  # fmt: skip
    attrs = {"serial": feed.pick(("H1", "H2", feed.text()))} | ({"peer": "2-1"} if feed.chance(3) else {})
    hub = Device(f"{top}/1-1", "usb", "1-1", "usb_device", attrs=attrs, parent=root)
    below = feed.pick((*ports, "4.2"))
    name = f"1-1.{below}" if not feed.chance(4) else f"1-{below}"
    found = usb_device(feed)
    return replace(found, syspath=f"{hub.syspath}/{name}", kernel=name, parent=hub)


def device(feed: Feed) -> Device:
    """A device of one of the kinds that can be attached."""
    usb = usb_device(feed)
    kind = feed.pick(("usb", "tty", "input", "block", "net", "drm", "pci"))
    properties, attrs = feed.texts(PROPERTIES), feed.texts(ATTRS)
    if kind == "usb":
        return usb
    if kind in ("tty", "input", "block"):
        number = Devnum("block" if kind == "block" else "char", 8 + len(kind), feed.byte())
        kernel = {"tty": "ttyUSB0", "input": "event3", "block": "sdb"}[kind]
        folder = "input/" if kind == "input" else ""
        return Device(
            f"{usb.syspath}/{kind}/{kernel}", kind, kernel, "", "", f"/dev/{folder}{kernel}", number,
            properties, attrs, usb, f"{slot_prefix(number)}7",
        )  # fmt: skip
    pci = Device("/sys/devices/pci0000:00/0000:03:00.0", "pci", "0000:03:00.0", slot="p-0000:03:00.0-9")
    if kind == "net":
        # Whoever is root in a container can give an interface any name that the kernel takes.
        kernel = (
            "".join(feed.text().split())[:15].replace("/", "").replace(":", "").replace("\0", "") or "eth1"
        )
        above = feed.pick((usb, pci))
        return Device(
            f"{above.syspath}/net/{kernel}", "net", kernel, properties=properties,
            attrs={**attrs, "address": "00:e0:4c:68:01:02"}, parent=above, slot="n-00e04c680102-77",
            away=feed.chance(4),
        )  # fmt: skip
    if kind == "pci":
        return replace(pci, properties=properties, attrs=attrs)
    number = Devnum("char", 226, feed.byte())
    return Device(
        f"{pci.syspath}/drm/card0", "drm", "card0", "drm_minor", "", "/dev/dri/card0", number, properties,
        attrs,
        pci, f"{slot_prefix(number)}7",
    )  # fmt: skip


def entry(feed: Feed, found: Device | None = None) -> Entry:
    """An entry as the server may have it: whoever may edit an instance may write anything."""
    names = [feed.text(), "eth0", "hp-0123456789abcdef", "hp-0123456789abcdeg"]
    if found is not None:
        names.append(name_for(found.slot))
    marks: dict[str, str] = {}
    if not feed.chance(4):
        marks = {MARK_VERSION: "1", MARK_INSTANCE: feed.pick(("default/box", "default/other", feed.text()))}
    kinds = ("unix-char", "unix-block", "nic", "gpu", "pci", "usb", "disk", "none", feed.text())
    sources = ["/dev/zero", "/dev/hotplugd/" + feed.text(), feed.text()]
    if found is not None:
        sources += slot_links(found.slot)
    seen = remember(found) if found is not None and feed.chance(2) else feed.text()
    if feed.chance(3):
        syspath = f"/sys/devices/{feed.text()}/net/{feed.text()}"
        value = {"syspath": syspath, "kernel": feed.text(), "devtype": "", "driver": feed.text()}
        seen = _json(
            {
                **value,
                "properties": feed.texts(PROPERTIES),
                "attrs": feed.json(1) if feed.chance(6) else feed.texts(ATTRS),
            }
        )
    config = {
        "type": feed.pick(kinds), "source": feed.pick(sources),
        "path": feed.pick(("/dev/ttyUSB0", "/dev/t-A", feed.text())),
        "parent": feed.pick(("eth1", feed.text())), "name": feed.pick(("eth1", feed.text())),
        "pci": "0000:03:00.0", "vendorid": feed.text(), MARK_DEVICE: feed.text(), MARK_NODE: feed.text(),
        MARK_RULE: feed.text(), MARK_SLOT: feed.text(), MARK_LINKS: feed.text(), MARK_SEEN: seen,
        MARK_MEMBER: feed.pick(("", feed.text())), "uid": feed.text(),
    }  # fmt: skip
    kept = {key: text for key, text in config.items() if not feed.chance(3) or key == "type"}
    return Entry(feed.pick(names), {**kept, **marks})


def instance(feed: Feed, found: Device | None = None, name: InstanceName = BOX) -> Instance:
    """An instance with entries of everybody's."""
    own = feed.several(lambda: entry(feed, found), 4)
    inherited = feed.several(lambda: entry(feed, found), 1)
    return Instance(
        name,
        kind=feed.pick(("container", "container", "virtual-machine")),
        running=not feed.chance(3),
        entries={each.name: each for each in own},
        inherited={each.name: each for each in inherited if each.name not in {one.name for one in own}},
        server=feed.pick((ServerTraits(), ServerTraits(usb_by_number=True, plugs_pci=True))),
        location=feed.pick(("", "", "", feed.text())),
    )


def inside(feed: Feed, places: Mapping[str, Device]) -> Inside | None:
    """What was seen inside; whoever is in there can put anything there."""
    if feed.chance(3):
        return None
    nodes: dict[str, Node | None] = {}
    for place, found in places.items():
        node = Node(found.devnum, 0o660)
        nodes[place] = feed.pick((node, None, Node(None, 0o777, feed.text()), Node(Devnum("char", 1, 3), 0)))
    names = frozenset([*feed.several(feed.text, 2), "eth1"])
    ids = {"root": feed.pick((0, None)), "a.b": feed.pick((None, 7))}
    return Inside(nodes, ids, ids, names, feed.pick(("", "", feed.text())))


def _json(value: object) -> str:
    import json  # noqa: PLC0415

    return json.dumps(value)
