"""What several commands share: options, settings and how they are told off, tables, JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final, NoReturn, TextIO, TypeVar, cast

import click

from hotplugd.aio.result import Outcome, outcome_of
from hotplugd.app.settings import DEFAULT
from hotplugd.model.text import counted, plain
from hotplugd.rulefile.diagnostics import Diagnostic
from hotplugd.rulefile.discover import Place, Reading

if TYPE_CHECKING:
    from hotplugd.app.cluster_json import ClusterAttachmentJson
    from hotplugd.app.documents import (
        AttachmentJson,
        ChangeJson,
        HoldJson,
        ProblemJson,
        StatusJson,
        UnmatchedJson,
    )
    from hotplugd.app.in_force import Settings
    from hotplugd.app.naming import NamedJson
    from hotplugd.app.override_json import AskedJson, OverrideJson
    from hotplugd.app.pool_documents import ClaimJson, LeaseJson
    from hotplugd.app.state_file import State, StateFile

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

BAD_CONFIGURATION: Final = 78  # sysexits.h: EX_CONFIG
NOT_RUNNING: Final = 3
_PATIENCE: Final = 10.0
AS_ROOT: Final = "; this has to be run as root"

with_config = click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),
    default=DEFAULT,
    show_default=True,
    metavar="FILE",
    help="The daemon's configuration.",
)
with_project = click.option(
    "--project", default="default", show_default=True, metavar="NAME", help="The instance's project."
)
with_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, with keys that stay.")


def settings(path: Path, code: int = 1) -> Settings:
    """The settings of a file. Shows what is wrong with them, and ends with `code` if there are errors."""
    from hotplugd.app.in_force import load

    found = patiently(partial(load, path))
    show(found.diagnostics)
    if found.errors:
        raise SystemExit(code)
    return found


def in_force(path: Path, *, needed: bool = True) -> tuple[Settings, str]:
    """The settings of a file, and `files`. Where these have errors those that the running daemon has, and
    `daemon`; says so on standard error. Where none runs either, shows the errors, and ends where they are
    needed; else what could be read, and `nothing`.
    """
    from hotplugd.app.in_force import load

    found = patiently(partial(load, path))
    if not found.errors:
        return found, "files"
    if (theirs := _of_daemon(found.config.control)) is None:
        show(found.errors)
        if needed:
            raise SystemExit(1)
        return found, "nothing"
    say_broken(found.errors)
    return theirs, "daemon"


def first(errors: Sequence[Diagnostic]) -> str:
    """The first error, with its place."""
    return f"{errors[0].place}: {errors[0].message}"


def say_broken(errors: Sequence[Diagnostic]) -> None:
    """Say on standard error that the answer goes by what the daemon has, and what is wrong with the files."""
    click.echo(
        f"warning: {counted(len(errors), 'error')} in the files, and the running daemon has not taken them: "
        f"this goes by what it has in force. The first is {first(errors)}; `hotplugd check` "
        f"shows all",
        err=True,
    )


def _of_daemon(control: Path) -> Settings | None:
    """What the running daemon goes by; None where none runs, or it does not say."""
    from hotplugd.app.control_client import ControlError, get
    from hotplugd.app.in_force import parse_settings

    try:
        return parse_settings(get(control, "settings"))
    except (ControlError, ValueError):
        return None


def kept(path: Path) -> State:
    """What the state file says. Where it cannot be read that is said on standard error, and it is nothing."""
    from hotplugd.app.state_file import State, StateError, StateFile

    try:
        return patiently(partial(_read, StateFile(path)))
    except StateError as error:
        click.echo(f"warning: {plain(str(error))}; what was decided by hand is not known", err=True)
        return State()


def order(config: Path, what: str, words: Mapping[str, object], *, as_json: bool) -> NoReturn:
    """Ask the running daemon for something, say what came of it, and end: with 0 where it is so, with 1 where
    it is not so (yet), and with 3 where no daemon runs.
    """
    from hotplugd.app import settings as configuration
    from hotplugd.app.control_client import ControlError, NotRunning, post

    found, _ = configuration.load(config)
    try:
        answer = cast("AskedJson", post(found.control, what, words))
    except NotRunning as error:
        raise fail(
            error, NOT_RUNNING, ["start it and repeat this command: only the daemon does this"]
        ) from None
    except ControlError as error:
        raise fail(error) from None
    if as_json:
        print_json(answer)
    elif not answer["taken"]:
        from hotplugd.cli.absent import last_place

        raise fail(
            answer["message"], 1, [*answer["more"], *last_place(str(words.get("device")), found.control)]
        )
    else:
        say(plain(answer["message"]), None if answer["done"] else "yellow")
    raise SystemExit(0 if answer["done"] else 1)


def named_by(device: str) -> dict[str, object]:
    """What tells the daemon which device somebody means."""
    return {"device": device, "real": os.path.realpath(device) if device.startswith("/") else device}


def _read(file: StateFile, reading: Reading) -> State:
    reading(file.path)
    return file.read()


def patiently(work: Callable[[Reading], T]) -> T:
    """What comes of work that reads files. Ends the command where one of them hangs: whoever waits for that
    in the kernel cannot be interrupted.
    """
    place, before, done = Place(), None, SimpleQueue[Outcome[T]]()
    Thread(target=lambda: done.put(outcome_of(partial(work, place))), daemon=True).start()
    while True:
        with suppress(Empty):
            return done.get(timeout=_PATIENCE).get()
        if place.path is not None and place.path == before:
            raise fail(f"{place.path} hangs: nothing was read there for {_PATIENCE:.0f} s")
        before = place.path


def show(diagnostics: Iterable[Diagnostic]) -> None:
    """Print diagnostics on standard error, in colours where that is a terminal that wants them."""
    colours = {"error": "red", "warning": "yellow"}
    for each in diagnostics:
        text = each.render()
        if _has_colours(sys.stderr):
            word = f" {each.severity}: "
            text = text.replace(word, click.style(word, fg=colours[each.severity], bold=True), 1)
        click.echo(text, err=True, color=True)


def fail(message: object, code: int = 1, more: Iterable[str] = ()) -> SystemExit:
    """Say on standard error why the command ends, with more below it, line by line. To be raised."""
    click.echo(f"hotplugd: {plain(str(message))}", err=True)
    for line in more:
        click.echo(f"  {plain(line)}", err=True)
    return SystemExit(code)


def print_json(document: object) -> None:
    """Print a document on standard output."""
    click.echo(json.dumps(document, indent=2))


def show_holds(holds: Sequence[HoldJson], problems: Sequence[ProblemJson] = ()) -> None:
    """Print what has to wait on standard output. problems: what is said already, and not once more."""
    said = {each["message"] for each in problems}
    for each in holds:
        where = f" in {instance_of(each)}" if each["instance"] else ""
        until = local_time(each["until"])[11:] if each["until"] is not None else each["event"]
        why = f", because {each['why']}" if each["why"] not in said else ""
        say(f"{named(each)}{plain(where)} is held until {plain(until)}{plain(why)}", "yellow")


def ask_daemon(control: Path) -> StatusJson | None:
    """What the running daemon says of everything; None where none runs, or it says nothing."""
    from hotplugd.app.control_client import Answer, ControlError, get

    try:
        lacks = {key: list[object]() for key in ("holds", "unmatched", "unleased")}
        return cast("StatusJson", Answer({**lacks, **get(control, "status")}))
    except ControlError:
        return None


def show_unmatched(unmatched: Sequence[UnmatchedJson]) -> None:
    """Print on standard output what no rule takes."""
    if unmatched:
        rows = [[each["device"], *names_of(each), each["identity"]] for each in unmatched]
        located(("no rule takes", *NAMED, "identity"), rows, unmatched)
    else:
        say("a rule takes every device that is plugged in")


def show_claims(claims: Sequence[ClaimJson], problems: Sequence[ProblemJson] = ()) -> None:
    """Print the claims that are not bound, a line each. problems: what is shown already"""
    told = {(each.get("instance"), each.get("claim")) for each in problems}
    for claim in claims:
        if claim["state"] != "bound" and (instance_of(claim), claim["claim"]) not in told:
            who = f"{instance_of(claim)}: claim '{claim['claim']}' is {claim['state']}"
            say(plain(f"{who}: {claim['reason']}"), "yellow" if claim["state"] == "waiting" else "red")


def show_problems(problems: Sequence[ProblemJson]) -> None:
    """Print problems on standard output, each with the device and the rule that it concerns."""
    for each in problems:
        about = ", ".join(
            text for text in (named(each), f"rule {plain(each['rule'])}" if each["rule"] else "") if text
        )
        say(f"problem: {about}{': ' if about else ''}{plain(each['message'])}", "red")


def named(each: ProblemJson | HoldJson) -> str:
    """A device, with what tells it from others and is not in its name."""
    told = [f"serial {each['serial']}" if each["serial"] else "", each["model"]]
    told += [f"port {each['port']}" if each["port"] else "", each.get("location", "")]
    more = ", ".join(filter(None, told))
    return plain(f"{each['device']} ({more})" if more else each["device"])


NAMED: Final = ("serial", "model", "port")
# Wider than any table, in columns of a terminal.
_WIDEST: Final = 100_000


def names_of(each: NamedJson) -> list[str]:
    """The cells below `NAMED`."""
    return [each["serial"], each["model"], each["port"]]


def located(head: Sequence[str], rows: Sequence[Sequence[str]], each: Sequence[NamedJson]) -> None:
    """Print a table of devices, with their locations where any has one."""
    locations = [one.get("location", "") for one in each]
    if any(locations):
        more = [[*row, location] for row, location in zip(rows, locations, strict=True)]
        table([*head, "location"], more)
    else:
        table(head, rows)


def instance_of(
    each: AttachmentJson
    | ChangeJson
    | ClaimJson
    | ClusterAttachmentJson
    | HoldJson
    | LeaseJson
    | OverrideJson,
) -> str:
    """An instance's name, with its project where that is another than `default`."""
    return each["instance"] if each["project"] in ("", "default") else f"{each['project']}/{each['instance']}"


def local_time(text: str) -> str:
    """A time of a document (ISO 8601) as people read it: in the local zone, with its offset. What is no time
    stays as it is.
    """
    try:
        return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S %z}"
    except (ValueError, OverflowError, OSError):
        return text


def told_override(each: OverrideJson) -> str:
    """What somebody decided about a device, when, and who."""
    what = f"attached to {instance_of(each)}" if each["decision"] == "attach" else "detached"
    who = each["user"] or f"uid {each['uid']}"
    login = f", logged in as {each['login']}" if each["login"] not in ("", each["user"]) else ""
    return plain(f"{what} at {local_time(each['since'])} by {who}{login}")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below a head: as a table on a terminal, else as aligned columns. Escapes what is in them."""
    cells = [[plain(text) for text in row] for row in rows]
    if is_terminal(sys.stdout):
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        grid = Table(*head, box=SIMPLE_HEAD, pad_edge=False)
        for row in cells:
            grid.add_row(*map(Text, row))
        # A head is bold, which NO_COLOR alone does not keep rich from.
        console = Console(highlight=False, color_system="auto" if _has_colours(sys.stdout) else None)
        # What is too wide would be cut in every column: the terminal breaks the lines of the other form.
        if console.measure(grid, options=console.options.update_width(_WIDEST)).maximum <= console.width:
            console.print(grid)
            return
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for row in ([text.upper() for text in head], *cells):
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def say(text: str, colour: str | None = None, *, bold: bool = False) -> None:
    """Print a line, in colour where standard output is a terminal that wants it."""
    styled = click.style(text, fg=colour, bold=bold) if _has_colours(sys.stdout) else text
    click.echo(styled, color=True)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody reads there as it comes. None: it was closed before the command was started"""
    return stream is not None and stream.isatty()


def _has_colours(stream: TextIO | None) -> bool:
    """Whether colours are wanted there (no-color.org), and can be shown."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
