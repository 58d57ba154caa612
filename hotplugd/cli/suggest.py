"""`hotplugd suggest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotplugd.cli.common import fail, in_force, print_json, say, with_config, with_json
from hotplugd.cli.which import find
from hotplugd.model.text import natural, plain

if TYPE_CHECKING:
    from hotplugd.app.command_json import SuggestHubsJson, SuggestionJson, SuggestJson

_HUBS = "hubs"


@click.command()
@click.argument("device", metavar="DEVICE|hubs")
@click.option("--to", default="INSTANCE", show_default=True, metavar="NAME", help="Where it is to go.")
@with_config
@with_json
def command(device: str, to: str, config: Path, *, as_json: bool) -> None:
    """Print a rule that takes DEVICE and nothing else that is plugged in, and others with their reasons.

    DEVICE is what `explain` takes. What is printed is YAML for a file of rules: alternatives are comments.

    With `hubs` in its place the section `hubs` is printed: each USB hub with its path and its ports, to be
    given better names. Hubs and ports that have names keep them. Needs no daemon and no server.
    """
    if device == _HUBS:
        _suggest_hubs(config, as_json=as_json)
    else:
        _suggest_rules(device, to, config, as_json=as_json)


def _suggest_hubs(config: Path, *, as_json: bool) -> None:
    from hotplugd.app.suggest_hubs import hubs_section
    from hotplugd.cli.topology import look

    settings, _ = in_force(config)
    text = hubs_section(look(settings, ask_server=False))
    if not text:
        raise fail("no USB hub is plugged in; `hotplugd topology` shows what there is")
    if as_json:
        section: SuggestHubsJson = {"hubs": text}
        print_json(section)
    else:
        click.echo(text, nl=False)


def _suggest_rules(device: str, to: str, config: Path, *, as_json: bool) -> None:
    from hotplugd.host.list_once import listed
    from hotplugd.rulefile.suggestion import suggestions, taken_too
    from hotplugd.rulefile.validate import instance

    settings, _ = in_force(config)
    if (wrong := instance(to, settings.rules.keys)) is not None:
        raise click.BadParameter(f"{wrong.message}; {wrong.hint}".removesuffix("; "), param_hint="--to")
    devices, unprocessed = listed(settings.rules.attrs)
    one = find(device, devices, unprocessed, settings)
    offers = suggestions(
        one, sorted(devices, key=lambda each: natural(each.syspath)), to, settings.rules.hubs
    )
    earlier = settings.rules.decide(one)
    now = earlier.rule.name if earlier is not None else None
    if as_json:
        offered: list[SuggestionJson] = [
            {
                "match": {key: [*values] for key, values in each.match},
                "why": each.why,
                "others": [*map(str, each.others)],
                "rule": each.rule,
                "problems": [*each.problems],
            }
            for each in offers
        ]
        document: SuggestJson = {"device": str(one), "rule": now, "suggestions": offered}
        print_json(document)
        return
    if now is not None:
        say(f"# Rule '{plain(now)}' takes it now; the first rule that matches decides: put this one before.")
    say("rules:")
    for number, each in enumerate(offers):
        besides = taken_too(each)
        lead = "By" if number == 0 else "Or by"
        say(plain(f"  # {lead} {each.why}" + (f"; {besides}." if besides else ".")), "green")
        for problem in each.problems if number == 0 else ():
            say(plain(f"  # It stays on the host all the same: {problem}."), "yellow")
        for line in each.rule.splitlines():
            say(plain(line) if number == 0 else f"  # {plain(line)}")
