"""What to write instead of keys and values that the rule language does not have: "did you mean". Pure."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from hotplugd.rulefile.tables import Table
from hotplugd.rules.keys import GROUPS

KEEP: Final = "to keep it on the host: `ignore: true`"
"""What whoever wants a device in no instance is to write."""

_PLACE: Final = (
    "the kernel gives that number anew at each plug or boot; `path` says where it is plugged in, and stays"
)
_ORDER: Final = "the first rule that matches decides, in the order of the files: put this one before others"

INSTEAD: Final[dict[str, str]] = {
    "model": 'write `property: {ID_MODEL: "Pixel*"}`',
    "id_model": 'write `property: {ID_MODEL: "Pixel*"}`',
    "product_name": 'write `property: {ID_MODEL: "Pixel*"}`',
    "product": 'write `product_id: 4ee7`, or its name: `property: {ID_MODEL: "Pixel*"}`',
    "vendor": 'write `vendor_id: 18d1`, or its name: `property: {ID_VENDOR: "Google*"}`',
    "manufacturer": 'write `property: {ID_VENDOR: "Google*"}`',
    "id_vendor": 'write `property: {ID_VENDOR: "Google*"}`',
    "vendor_name": 'write `property: {ID_VENDOR: "Google*"}`',
    "devname": "write `kernel`, with its `subsystem`: `subsystem: tty, kernel: ttyUSB0`",
    "devnode": "write `kernel`, with its `subsystem`: `subsystem: tty, kernel: ttyUSB0`",
    "node": "write `kernel`, with its `subsystem`: `subsystem: tty, kernel: ttyUSB0`",
    "class": "write `interface`, as in `interface: 08:*:*`",
    **dict.fromkeys(("detach", "deny", "block", "exclude", "forbid", "drop", "reject", "skip"), KEEP),
    **dict.fromkeys(("allow", "permit", "accept"), "to let an instance have it: `attach: {to: runner-1}`"),
    "hooks": "hooks are in a file of their own, hooks.yaml beside the configuration: hotplugd-hooks(7)",
    **dict.fromkeys(("bus", "busnum", "devnum", "bus_number", "address"), _PLACE),
    **dict.fromkeys(("priority", "order", "weight"), _ORDER),
}
"""What to write for what others call a key and no key here means, in lower case."""

EXPECTED: Final[dict[str, str]] = {
    "rules": "begin each rule with `- `",
    "hubs": "write each hub's name, with its `path` and `ports` below it",
    "pools": "write each pool's name, with `instances` below it: `pools: {android: {instances: runner-*}}`",
    "ready": "write `ready: adb`, or a command: `ready: {command: [/opt/is-ready, '{serial}']}`",
    "files": "begin each file with `- `: `- {source: /etc/hotplugd/adbkey, path: /root/.android/adbkey}`",
    "flap": "write how often in which time: `flap: {count: 5, within: 60s}`",
    "ports": 'write each port\'s label and its path below the hub: `ports: {1: "1", 2: "2"}`',
    "any": "begin each match with `- `",
    "attach": "write where to: `attach: {to: runner-1}`",
    "match": 'write which key: `match: {id: "18d1:4ee7"}`',
    "not": 'write which key: `not: {interface: "03:*"}`',
    "parent": "write which key: `parent: {driver: ftdi_sio}`",
    **{group.name: f"write `{group.name}: {group.example}`" for group in GROUPS},
    "path": "`path` is one path below /dev, or a template: /dev/{kernel}",
    "link": "`link` is a path below /dev, a list of them, a template, /dev/{serial}, or by-id",
    "pool": "a device is of one pool, which names the instances that may have it",
    "to": "`to` is a name, a list (every one of them gets it), or a template; for one of several, `pool`",
}
"""By key: what to write where its value is of another kind."""

_LONGEST_KEY: Final = 64


def instead_of(name: str, table: Table) -> str:
    """What to write instead of an unknown key."""
    known = [key.name for key in table.keys]
    folded = name.strip().casefold().replace("-", "_")
    if name == "required":
        return "never set: a required device that is missing keeps its instance from starting"
    if folded in INSTEAD:
        return INSTEAD[folded]
    if where := table.elsewhere.get(name):
        return f"`{name}` goes {where}"
    close = get_close_matches(folded[:_LONGEST_KEY], known, 1)
    meant = folded if folded in known else table.aliases.get(folded)
    if meant not in known:
        meant = close[0] if close else meant
    if meant in known:
        return f"did you mean '{meant}'?"
    if meant is not None and (where := table.elsewhere.get(meant)):
        return f"did you mean '{meant}' {where}?"
    return f"keys: {', '.join(known)}"
