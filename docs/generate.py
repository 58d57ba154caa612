"""Writes the pages of the reference that are made from the code: `python docs/generate.py`.

A test compares the pages with what this makes, so that they are never out of date.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, is_typeddict

import click

from hotplugd import cli
from hotplugd.app import (
    cluster_json,
    command_json,
    device_documents,
    documents,
    endpoints,
    naming,
    override_json,
    pool_documents,
    reports,
    topology,
    try_rules,
)
from hotplugd.app.endpoints import ENDPOINTS
from hotplugd.app.event_documents import ENDS, FIELDS
from hotplugd.app.openapi import openapi
from hotplugd.app.systemd import MESSAGE_IDS
from hotplugd.server.traits import ROWS, Row

_ROOT: Final = Path(__file__).resolve().parents[1]
_CATALOG: Final = _ROOT / "systemd" / "hotplugd.catalog"
_MADE: Final = "<!-- Made by docs/generate.py: do not edit. -->"
_TABLE: Final = "<!-- Made by docs/generate.py from hotplugd/server/traits.py: do not edit. -->"
_ENDPOINTS: Final = "<!-- Made by docs/generate.py from hotplugd/app/endpoints.py: do not edit. -->"
_TABLE_ENDS: Final = "<!-- Here ends what is made. -->"
_RESULTS: Final = _ROOT / "tests" / "servers" / "results.json"
_RAN: Final = "<!-- Made by docs/generate.py from tests/servers/results.json: do not edit. -->"
_NAMES: Final[Mapping[str, str]] = MappingProxyType({"lxd": "LXD", "incus": "Incus"})
# The programs beside the daemon, which systemd starts and people do not.
_HIDDEN: Final = frozenset({"inject", "roots", "seal", "udevdb", "udevrules", "usb"})


def json_page() -> str:
    """The objects in the JSON that commands print, with their keys."""
    lines = [
        "# JSON",
        "",
        _MADE,
        "",
        "All commands but `run`, `record`, `report`, `schema`, `serve`, `hooks` and `help` take `--json`.",
        "The keys stay: later versions add some, and rename or remove none. `list[X]` is an array; `X |",
        "None` may be null. `monitor` and `history` print one object a line, with the fields of",
        "[events](log-events.md). A command that cannot do its work prints nothing on standard output, and",
        "says why on standard error; its exit code is not 0.",
    ]
    for name, kind in _types().items():
        if is_typeddict(kind) and not name.startswith("_"):
            lines += ["", f"## {name.removesuffix('Json')}", "", _paragraphs(inspect.getdoc(kind) or ""), ""]
            lines += ["| key | type |", "|---|---|", *_keys(kind)]
    return "\n".join((*lines, ""))


def _types() -> Mapping[str, type]:
    modules = (
        naming,
        override_json,
        documents,
        pool_documents,
        device_documents,
        cluster_json,
        reports,
        topology,
        try_rules,
        command_json,
        endpoints,
    )
    found = (item for module in modules for item in vars(module).items())
    return {name: kind for name, kind in found if isinstance(kind, type)}


def _keys(kind: type) -> Iterator[str]:
    for key, annotation in inspect.get_annotations(kind).items():
        text = annotation.__forward_arg__ if hasattr(annotation, "__forward_arg__") else str(annotation)
        yield f"| `{key}` | `{re.sub(r'Json', '', text)}` |".replace(" | None`", " \\| None`")


def _paragraphs(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


def log_events_page() -> str:
    """What the daemon logs, with the journal's message ids and explanations."""
    lines = [
        "# Log events",
        "",
        _MADE,
        "",
        "Logs go to the journal with fields and message ids (`journalctl -u hotplugd -x`), to a terminal in",
        "colours, and else as lines of JSON, whose key `event` has the name; `run --log-format` chooses. The",
        "journal's fields are `DEVICE=` and `HOTPLUGD_…=` with the name in capitals. `journalctl",
        "MESSAGE_ID=…` finds an event's entries; the explanations are the catalog's. `hotplugd monitor` and",
        "`hotplugd history` show the same events.",
    ]
    lines += [
        "",
        "## Fields",
        "",
        "An event has those that are known.",
        "",
        "| field | what it is |",
        "|---|---|",
    ]
    lines += [f"| `{name}` | {text} |" for name, text in FIELDS.items()]
    told = _explanations()
    for event, number in MESSAGE_IDS.items():
        subject, text = told[number]
        lines += ["", f"## {event}", "", f"Message id `{number}`: {subject}.", "", text]
        if event in ENDS:
            lines += ["", f"Over with: {ENDS[event]}."]
    return "\n".join((*lines, ""))


def _explanations() -> Mapping[str, tuple[str, str]]:
    found = {}
    for part in _CATALOG.read_text("utf-8").split("\n-- ")[1:]:
        head, _, text = part.partition("\n\n")
        number, *fields = head.splitlines()
        subject = next(line for line in fields if line.startswith("Subject: ")).removeprefix("Subject: ")
        found[number.strip()] = (subject, text.split("\n#")[0].strip())
    return found


def commands_page() -> str:
    """The commands, with their options."""
    lines = [
        "# Commands",
        "",
        _MADE,
        "",
        "The [tutorial](../tutorial.md) attaches a first device. [Rules](rules.md) has what a rule may say,",
        "[configuration](configuration.md) what the daemon's settings are, and [the service](service.md) how",
        "it runs under systemd. [Troubleshooting](../how-to/troubleshooting.md) finds what is not there.",
        "",
        "Exit codes: 0 fine; 1 when `check` finds errors, a test fails, `status` or `run --once` finds",
        "problems, or a command cannot do its work; 2 wrong usage; 3 when `status`, `pool`, `lease list`,",
        "`reload`, `attach`, `detach DEVICE` or `undo` finds no daemon; 78 when `run` finds errors in rules",
        "or configuration. `health` has its own. Every command takes `-h` and `--help`.",
        *_commands(click.Context(cli.main, info_name="hotplugd")),
    ]
    return "\n".join((*lines, ""))


def _commands(above: click.Context) -> Iterator[str]:
    """The lines about the commands of a group, and about theirs."""
    group = above.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        if command is None or name in _HIDDEN:
            continue
        own = click.Context(command, info_name=name, parent=above)
        path = own.command_path
        usage = " ".join(command.collect_usage_pieces(own))
        yield from ("", f"## {path.removeprefix('hotplugd ')}", "", f"`{path} {usage}`", "")
        yield inspect.cleandoc(command.help or "")
        # Not what comes with click, and says the same of every command.
        options = [record for each in command.params if (record := each.get_help_record(own))]
        if options:
            yield from ("", "| option | does |", "|---|---|")
            yield from (f"| `{_bar(flag)}` | {_bar(text)} |" for flag, text in options)
        if isinstance(command, click.Group):
            yield from _commands(own)


def _bar(text: str) -> str:
    return text.replace("|", "\\|")


def support_page() -> str:
    """The page on what works where as it is, with the table of what differs between servers."""
    before, begins, rest = path_of("support").read_text("utf-8").partition(_TABLE)
    _, ends, after = rest.partition(_TABLE_ENDS)
    lines = ["| what a server does | which ones | what hotplugd does | shown by |", "|---|---|---|---|"]
    lines += [
        f"| {_bar(row.what)} | {_which(row)} | {_bar(row.handling)} | {_bar(row.proof)} |" for row in ROWS
    ]
    page = "".join((before, begins, "\n\n", "\n".join(lines), "\n\n", ends, after))
    before, begins, rest = page.partition(_RAN)
    _, ends, after = rest.partition(_TABLE_ENDS)
    tables = results_tables(json.loads(_RESULTS.read_text("utf-8")))
    return f"{before}{begins}\n\n{tables}\n\n{ends}{after}"


def results_tables(results: Mapping[str, Any]) -> str:
    """The servers that tests ran with, and how those of each area went. results: as tests/servers has them"""
    lines = ["| server | packages | tried |", "|---|---|---|"]
    for name, found in results.items():
        days = sorted({each["date"] for each in found["areas"].values()})
        lines.append(
            f"| `{name}` | {_bar(found['packages'])} | {' to '.join(dict.fromkeys((days[0], days[-1])))} |"
        )
    lines += [
        "",
        f"| area | {' | '.join(f'`{name}`' for name in results)} |",
        "|---" * (len(results) + 1) + "|",
    ]
    for area in sorted({area for found in results.values() for area in found["areas"]}):
        cells = (_result(found["areas"].get(area)) for found in results.values())
        lines.append(f"| {area} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _result(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "not run"
    if found["failed"]:
        return f"**{found['failed']} of {found['passed'] + found['failed']} failed**"
    return f"{found['passed']}" + (f", {found['skipped']} skipped" if found["skipped"] else "")


def _which(row: Row) -> str:
    """Which servers do it."""
    found = [f"with the API extension `{each}`" for each in row.extensions]
    found += [f"{_NAMES[name]} from {'.'.join(map(str, first))} on" for name, first in row.since.items()]
    return ", ".join(found) or "not distinguished"


def http_page() -> str:
    """What the control socket offers."""
    before, begins, rest = path_of("http").read_text("utf-8").partition(_ENDPOINTS)
    _, ends, after = rest.partition(_TABLE_ENDS)
    lines = ["| request | verb | what it does | document |", "|---|---|---|---|"]
    for each in ENDPOINTS:
        kind = each.gives.__name__.removesuffix("Json") if is_typeddict(each.gives) else "an object"
        document = f"[{kind}](json.md#{kind.lower()})" if is_typeddict(each.gives) else kind
        lines.append(f"| `{each.method} {each.path}` | `{each.verb}` | {_bar(each.about)} | {document} |")
    for each in ENDPOINTS:
        for name, about in each.query.items():
            lines += ["", f"`{each.path}?{name}=`: {about}."]
    return "".join((before, begins, "\n\n", "\n".join(lines), "\n\n", ends, after))


def openapi_page() -> str:
    """The same as an OpenAPI document."""
    return json.dumps(openapi(), indent=2) + "\n"


PAGES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "json": json_page,
        "log-events": log_events_page,
        "commands": commands_page,
        "support": support_page,
        "http": http_page,
        "openapi": openapi_page,
    }
)
_EXPLANATIONS: Final = frozenset({"support"})


def path_of(page: str) -> Path:
    """Where a page is."""
    folder = _ROOT / "docs" / ("explanation" if page in _EXPLANATIONS else "reference")
    return folder / f"{page}.{'json' if page == 'openapi' else 'md'}"


if __name__ == "__main__":
    for page, made in PAGES.items():
        path_of(page).write_text(made(), "utf-8")
