"""The section `hubs` for what is plugged in, with the names that there are already. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hotplugd.app.topology import SocketJson, TopologyJson
from hotplugd.model.text import counted, quoted


@dataclass(frozen=True, slots=True)
class _Box:
    """A hub as people see it, which may be a tree of hubs. ports: by the path below it."""

    socket: SocketJson
    ports: tuple[tuple[str, SocketJson], ...]


def hubs_section(found: TopologyJson) -> str:
    """The section as YAML, or empty where no hub is plugged in. Ends in a newline.

    Hubs and ports that have a name keep it. A hub in a port of another is part of it where it cannot be
    unplugged, or says the same vendor and product: so are those with seven ports made; or where the name of
    one hub is that of ports of both. Of several that have one name all the same the first keeps it.
    """
    boxes = [box for each in found["controllers"] for box in _boxes(each["sockets"]) if _has_place(box)]
    names: list[str] = []
    for box in boxes:
        known = _name_of(box)
        names.append(known if known not in names else "")
    lines: list[str] = []
    number = 0
    for box, known in zip(boxes, names, strict=True):
        name = known
        while not name or (not known and name in names):
            number += 1
            name = f"hub-{number}"
        lines += _lines(name, box)
    return "\n".join(("hubs:", *lines, "")) if lines else ""


def _boxes(sockets: Sequence[SocketJson]) -> Iterator[_Box]:
    for socket in sockets:
        if socket["sockets"]:
            ports = tuple(_ports(socket, ""))
            yield _Box(socket, ports)
            yield from _boxes([port for _, port in ports])


def _ports(hub: SocketJson, before: str) -> Iterator[tuple[str, SocketJson]]:
    """The ports that people see, in the order of their paths."""
    for socket in hub["sockets"]:
        below = f"{before}{socket['number']}"
        if socket["sockets"] and _is_part(socket, hub):
            yield from _ports(socket, f"{below}.")
        elif socket["connection"] != "not used":
            yield below, socket


def _is_part(inner: SocketJson, outer: SocketJson) -> bool:
    own, other = ({each["id"] for each in hub["devices"] if each["ports"]} for hub in (inner, outer))
    if any(each["fixed"] for each in inner["devices"]) or not (own - {""}).isdisjoint(other):
        return True
    beside = _hub_names(each for each in outer["sockets"] if each is not inner)
    return not _hub_names(inner["sockets"]).isdisjoint(beside)


def _hub_names(sockets: Iterable[SocketJson]) -> frozenset[str]:
    """The hubs by whose names sockets, and those of hubs in them, are called."""
    name_sets = ({_hub_of(each)} | _hub_names(each["sockets"]) for each in sockets)
    return frozenset().union(*name_sets) - {""}


def _hub_of(port: SocketJson) -> str:
    return port["location"].partition("/")[0]


def _has_place(box: _Box) -> bool:
    """Whether its place is known: udev gives the paths of the host's controllers."""
    return bool(box.socket["path"] or box.socket["devices"][0]["serial"])


def _name_of(box: _Box) -> str:
    return next((_hub_of(port) for _, port in box.ports if port["location"]), "")


def _lines(name: str, box: _Box) -> Iterator[str]:
    one = box.socket["devices"][0]
    says = " ".join(filter(None, (one["id"], quoted(one["product"]))))
    serial = f", serial {quoted(one['serial'])}" if one["serial"] else ""
    yield f"  # {says}{serial}: {counted(len(box.ports), 'port')}, at {' and '.join(box.socket['ports'])}"
    place = f"path: {json.dumps(box.socket['path'])}"
    if not box.socket["path"]:
        place = f"serial: {json.dumps(one['serial'])}"
    yield f"  {name}:"
    yield f"    {place}"
    known = _name_of(box)
    labels = [port["location"].partition("/")[2] if _hub_of(port) == known else "" for _, port in box.ports]
    free = (str(number) for number in range(1, 2 * len(labels) + 1) if str(number) not in labels)
    pairs = [f'{label or next(free)}: "{below}"' for label, (below, _) in zip(labels, box.ports, strict=True)]
    yield f"    ports: {{{', '.join(pairs)}}}"
