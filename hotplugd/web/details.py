"""What is said of one tile: the rules' word on what is in it, and what happened. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from glob import escape
from typing import TYPE_CHECKING, Final, TypedDict

from hotplugd.app.event_views import Filter, line
from hotplugd.rulefile.serials import KEY

if TYPE_CHECKING:
    from hotplugd.app.device_documents import ExplainJson, VerdictJson
    from hotplugd.web.page import Names

_MOST_ROWS: Final = 60
_SEEN: Final[Mapping[bool | None, str]] = {
    True: "seen inside", False: "not seen inside", None: "nobody looks inside now"
}  # fmt: skip
_VALUES: Final = ("device", "identity", "model", "id", "serial", "location", "driver", "syspath")

Row = tuple[str, str]
"""What is told of, and what is told."""


class SectionJson(TypedDict):
    """A device, and what is told of it: pairs of a word and a text."""

    title: str
    rows: list[Row]


class ExplainedJson(TypedDict):
    """What the rules say to the devices of a tile."""

    sections: list[SectionJson]


class HistoryJson(TypedDict):
    """What happened, the oldest first. lines: pairs of a level (`info`, `warning`, …) and a text. note: why
    there may be more.
    """

    lines: list[Row]
    note: str


def section(document: ExplainJson, shown: Callable[[object], str], *, serials: bool) -> SectionJson:
    """What `explain` says of a device. serials: whether values of rules' keys for serial numbers are shown"""
    rows = [(shown(word), shown(text)) for word, text in _rows(document, serials=serials) if text]
    if len(rows) > _MOST_ROWS:
        rows = [*rows[:_MOST_ROWS], ("more", "`hotplugd explain` says all")]
    return {"title": shown(document["device"]), "rows": rows}


def _rows(document: ExplainJson, *, serials: bool) -> Iterator[Row]:
    values: Mapping[str, object] = {**document}
    yield from ((key, str(values.get(key) or "")) for key in _VALUES)
    yield from (("problem", each["message"]) for each in document["problems"])
    for hold in document["holds"]:
        yield "waits", f"{hold['why']}{', until ' + hold['until'] if hold['until'] else ''}"
    yield from (("to do", f"{each['action']}, since {each['why']}") for each in document["changes"])
    for attachment in document["attachments"]:
        where = f"in {_instance(attachment['project'], attachment['instance'])}"
        yield "attached", f"{where} as {attachment['path']}, {_SEEN[attachment['verified']]}"
    for want in document["wants"]:
        path = f" as {want['path']}" if want["path"] else ""
        yield "goes to", f"{_instance(want['project'], want['instance'])}{path}"
    yield from _lease(document)
    if document["ignored"]:
        yield "ignored", f"by rule {document['rule']}"
    elif document["rule"] is None:
        yield "rule", "no rule takes it"
    if document["along"] is not None:
        yield "goes along", f"with {document['along']}"
    yield from (("warning", each) for each in document["warnings"])
    # The one that takes it is the last.
    for verdict in reversed(document["rules"]):
        yield f"rule {verdict['name']}", _verdict(verdict, serials=serials)


def _lease(document: ExplainJson) -> Iterator[Row]:
    for claim in document["claims"]:
        yield (
            f"claim {claim['claim']}",
            f"of {_instance(claim['project'], claim['instance'])}: {claim['reason']}",
        )
    if (lease := document["lease"]) is None:
        return
    whose = f" to {_instance(lease['project'], lease['instance'])}" if lease["instance"] else ""
    why = f": {lease['reason']}" if lease["reason"] else ""
    yield "pool", f"{lease['pool']}: {lease['state']}{whose}{why}"
    if lease["health_reason"]:
        yield "health", f"{lease['health']}: {lease['health_reason']}"


def _verdict(verdict: VerdictJson, *, serials: bool) -> str:
    off = "" if verdict["enabled"] else "off; "
    where = f" ({verdict['file']}:{verdict['line']})"
    if (failed := verdict["failed"]) is None:
        return f"{off}matches{where}"
    if KEY.search(failed["key"]) and not serials:
        return f"{off}no: {failed['key']} is another{where}"
    return f"{off}no: {failed['key']} wants {failed['wanted']}, has {failed['found']}{where}"


def _instance(project: str, name: str) -> str:
    return name if project == "default" else f"{project}/{name}"


def happened(events: Iterable[Mapping[str, object]], names: Names) -> list[Mapping[str, object]]:
    """The events that are about a tile."""
    words: Sequence[str] = (*names.places, *names.identities, *names.devices)
    filters = [Filter("", escape(each)) for each in words]
    return [each for each in events if any(one.meets(each) for one in filters)]


def history(events: Sequence[Mapping[str, object]], note: str, shown: Callable[[object], str]) -> HistoryJson:
    """The last of these events. note: why there may be more; empty: there are none"""
    last = events[-_MOST_ROWS:]
    if len(last) < len(events):
        note = f"the last {_MOST_ROWS} of {len(events)}: `hotplugd history` has all"
    return {"lines": [(shown(each.get("level", "")), shown(line(each))) for each in last], "note": note}
