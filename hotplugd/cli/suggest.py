"""hotplugd suggest"""

from __future__ import annotations

from pathlib import Path

import click

from hotplugd.cli.common import in_force, print_json, say, with_config, with_json
from hotplugd.cli.which import find
from hotplugd.model.text import plain


@click.command()
@click.argument("device")
@click.option("--to", default="INSTANCE", show_default=True, metavar="NAME", help="Where it is to go.")
@with_config
@with_json
def command(device: str, to: str, config: Path, *, as_json: bool) -> None:
    """Print a rule that takes DEVICE and nothing else that is plugged in, and others with their reasons.

    DEVICE is what `explain` takes. What is printed is YAML for a file of rules: alternatives are comments.
    """
    from hotplugd.host.present import listed
    from hotplugd.rulefile.suggestion import suggestions, taken_too

    found, _ = in_force(config)
    devices, unsettled = listed(found.rules.attrs)
    one = find(device, devices, unsettled, found.rules)
    offers = suggestions(one, devices, to)
    earlier = found.rules.decide(one)
    now = earlier.rule.name if earlier is not None else None
    if as_json:
        offered = [
            {
                "match": dict(each.match),
                "why": each.why,
                "others": [*map(str, each.others)],
                "rule": each.rule,
            }
            for each in offers
        ]
        print_json({"device": str(one), "rule": now, "suggestions": offered})
        return
    if now is not None:
        say(f"# Rule '{plain(now)}' takes it now; the first rule that matches decides: put this one before.")
    say("rules:")
    for number, each in enumerate(offers):
        besides = taken_too(each)
        lead = "By" if number == 0 else "Or by"
        say(plain(f"  # {lead} {each.why}" + (f"; {besides}." if besides else ".")), "green")
        for line in each.rule.splitlines():
            say(plain(line) if number == 0 else f"  # {plain(line)}")
