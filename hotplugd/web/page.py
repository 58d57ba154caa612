"""The page: a tile for each port, laid out like the hubs, with its state as a word. Pure.

status x topology x pools -> Page     `page`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

from hotplugd.model.text import counted
from hotplugd.web.masking import short
from hotplugd.web.port_state import Facts, Look, called, facts_of, since, speed, state, who

if TYPE_CHECKING:
    from hotplugd.app.documents import ProblemJson, StatusJson
    from hotplugd.app.pool_documents import PoolsJson
    from hotplugd.app.topology import SocketJson, TopologyJson

_MOST_TILES: Final = 2000
_MOST_PROBLEMS: Final = 50
# What has no port is shown among these.
_OTHERS: Final = "Not in a port"


class TileJson(TypedDict):
    """A port, or a device that is in none. id: names the tile in questions. label: the port on its hub.
    place: the port's location or the kernel's name. word: the state. device: what is in it. who: the
    instances that have it. since: ISO 8601 or empty. speed: with its unit. why: what is wrong, or what is
    waited for.
    """

    id: str
    label: str
    place: str
    look: Look
    word: str
    device: str
    who: str
    since: str
    speed: str
    why: str


class GroupJson(TypedDict):
    """The tiles of a hub. id: tells it from others. note: what is left out."""

    id: str
    name: str
    note: str
    tiles: list[TileJson]


class NoticeJson(TypedDict):
    """A problem. tile: the id of the tile that it is about, or empty."""

    text: str
    tile: str


class PageJson(TypedDict):
    """What the page shows. server: who attaches devices, and whether that is connected."""

    server: str
    summary: str
    problems: list[NoticeJson]
    groups: list[GroupJson]


@dataclass(frozen=True, slots=True)
class Names:
    """What the daemon is asked about for a tile. places: locations and the kernel's names of ports."""

    devices: tuple[str, ...]
    identities: tuple[str, ...]
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The page, and what each tile is, by its id."""

    document: PageJson
    names: Mapping[str, Names]


def page(
    status: StatusJson,
    topology: TopologyJson,
    pools: PoolsJson,
    shown: Callable[[object], str],
    ident: Callable[[str], str],
) -> Page:
    """The page.

    shown  gives a text as it may be seen
    ident  gives the id of a tile, by what the tile is known by
    """
    made = _Making(facts_of(status, pools), shown, ident)
    groups = [*made.named(topology), *made.elsewhere(topology), *made.without_port()]
    problems = [*topology["problems"], *status["problems"]]
    notices: list[NoticeJson] = [
        {"text": shown(_told(each)), "tile": made.of_problem(each)} for each in problems[:_MOST_PROBLEMS]
    ]
    if left := len(problems) - len(notices):
        notices.append({"text": f"and {counted(left, 'problem')} more: `hotplugd status`", "tile": ""})
    tiles = [tile for group in groups for tile in group["tiles"]]
    document: PageJson = {
        "server": shown(_server(status)),
        "summary": _summary(tiles),
        "problems": notices,
        "groups": groups,
    }
    return Page(document, made.names)


def _told(problem: ProblemJson) -> str:
    where = problem["location"] or problem["place"] or problem["device"] or problem["instance"]
    return f"{where}: {problem['message']}" if where else problem["message"]


def _server(status: StatusJson) -> str:
    server = status["server"]
    name = " ".join(filter(None, (server["software"], server["version"]))) or "LXD or Incus"
    state = "connected" if server["connected"] else "not connected"
    return f"{name} {state}" + ("" if status["ready"] else ", starting")


def _summary(tiles: Sequence[TileJson]) -> str:
    """How many tiles have which word, those that most have first."""
    words: dict[str, int] = {}
    for each in tiles:
        words[each["word"]] = words.get(each["word"], 0) + 1
    return ", ".join(f"{number} {word}" for word, number in sorted(words.items(), key=lambda each: -each[1]))


class _Making:
    """Makes tiles. names: what each is, by its id"""

    def __init__(
        self, facts: Mapping[str, Facts], shown: Callable[[object], str], ident: Callable[[str], str]
    ) -> None:
        self._facts = dict(facts)
        self._shown = shown
        self._ident = ident
        self._by_key: dict[str, str] = {}
        self.names: dict[str, Names] = {}

    def named(self, topology: TopologyJson) -> Iterator[GroupJson]:
        """The hubs of the configuration, with all ports that have names, whether they are there or not."""
        sockets = [each for one in topology["controllers"] for _, each in _every(one["path"], one["sockets"])]
        by_location = {each["location"]: each for each in sockets if each["location"]}
        for hub in topology["hubs"]:
            tiles = [
                self._named(location, location.removeprefix(f"{hub['name']}/"), by_location.get(location))
                for location in hub["locations"][: self._room()]
            ]
            yield self._group(hub["name"], "", tiles)

    def elsewhere(self, topology: TopologyJson) -> Iterator[GroupJson]:
        """What is plugged in elsewhere, by the hub that it is plugged into."""
        for controller in topology["controllers"]:
            groups: dict[str, list[SocketJson]] = {}
            path = controller["path"] or controller["syspath"]
            for hub, each in _every(path, controller["sockets"]):
                if not each["location"] and not each["sockets"]:
                    groups.setdefault(hub, []).append(each)
            for hub, sockets in groups.items():
                used = [each for each in sockets if each["devices"]][: self._room()]
                free = sum(each["free"] for each in sockets)
                note = f"{counted(free, 'free port')} not shown" if free else ""
                if used:
                    yield self._group(hub, note, [self._plugged(each) for each in used])

    def without_port(self) -> Iterator[GroupJson]:
        """Devices that are in no port of USB, or are leased and absent."""
        left = {
            key: each for key, each in self._facts.items() if each.attachments or each.waits or each.leases
        }
        tiles = [
            self._tile(key, self._shown(key), self._shown(key), each)
            for key, each in sorted(left.items())[: self._room()]
        ]
        if tiles:
            yield self._group(_OTHERS, "", tiles)

    def of_problem(self, problem: ProblemJson) -> str:
        """The id of the tile that a problem is about; empty: none."""
        keys = (problem["location"], problem["port"], problem["place"], problem["device"])
        return next((self._by_key[key] for key in keys if key in self._by_key), "")

    def _room(self) -> int:
        return max(_MOST_TILES - len(self.names), 0)

    def _group(self, name: str, note: str, tiles: list[TileJson]) -> GroupJson:
        if not self._room():
            note = f"more than {_MOST_TILES} ports: not all are shown"
        return {"id": self._ident(f"{name}/"), "name": short(name), "note": note, "tiles": tiles}

    def _named(self, location: str, label: str, socket: SocketJson | None) -> TileJson:
        ports = socket["ports"] if socket is not None else []
        facts = self._taken(location, *ports)
        tile = self._tile(location, short(label), short(location), facts, socket)
        if socket is None and tile["look"] == "free":
            tile["look"], tile["word"] = "absent", "no such port"
            tile["why"] = "the hub is not plugged in, or has no such port"
        return tile

    def _plugged(self, socket: SocketJson) -> TileJson:
        ports = socket["ports"]
        return self._tile(ports[0], str(socket["number"]), short(ports[0]), self._taken(*ports), socket)

    def _taken(self, *keys: str) -> Facts:
        """What is told of a port that has these names."""
        every = [self._facts.pop(key) for key in keys if key in self._facts]
        return Facts(
            [one for each in every for one in each.attachments],
            [one for each in every for one in each.waits],
            [one for each in every for one in each.problems],
            [one for each in every for one in each.leases],
            any(each.is_unmatched for each in every),
        )

    def _tile(
        self, key: str, label: str, place: str, facts: Facts, socket: SocketJson | None = None
    ) -> TileJson:
        plugged = socket["devices"] if socket is not None else []
        ports = socket["ports"] if socket is not None else []
        look, word, why = state(facts, bool(plugged), is_hub=bool(socket and socket["sockets"]))
        ident = self._ident(key)
        self._by_key |= dict.fromkeys((key, *ports, *facts.devices()), ident)
        devices = [*facts.devices(), *(each["device"] for each in plugged)]
        self.names[ident] = Names(
            tuple(dict.fromkeys(devices)), tuple(facts.identities()), tuple(dict.fromkeys((key, *ports)))
        )
        return {
            "id": ident,
            "label": label,
            "place": place,
            "look": look,
            "word": short(word),
            "device": self._shown(called(facts, plugged)),
            "who": self._shown(", ".join(who(facts, plugged))),
            "since": self._shown(since(facts)),
            "speed": speed(plugged),
            "why": self._shown(why),
        }


def _every(hub: str, sockets: Iterable[SocketJson]) -> Iterator[tuple[str, SocketJson]]:
    """Each socket, with the path of the hub that it is on."""
    for each in sockets:
        yield hub, each
        yield from _every(each["path"] or each["ports"][0], each["sockets"])
