"""hotplugd pool"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from hotplugd.cli.common import fail, local_time, print_json, say, show_claims, table, with_config, with_json
from hotplugd.cli.lease import asked, head, row
from hotplugd.model.text import counted, plain, quoted

if TYPE_CHECKING:
    from hotplugd.app.pool_documents import CordonJson, PoolJson, PoolsJson


@click.command()
@click.argument("name", required=False)
@with_config
@with_json
def command(name: str | None, config: Path, *, as_json: bool) -> None:
    """Show pools: which devices they have, who has these, and which claims wait and why.

    The running daemon is asked. Exit code 0; 1 where a claim cannot be met, or there is no such pool; 3 if no
    daemon runs.
    """
    found: PoolsJson = asked(config)
    pools = [pool for pool in found["pools"] if name in (None, pool["name"])]
    if name is not None and not pools:
        raise fail(_no_such(name, [pool["name"] for pool in found["pools"]]))
    if as_json:
        print_json(cast("PoolsJson", {**found, "pools": pools}))
    else:
        for pool in pools:
            _show(pool)
        for cordon in found["cordons"]:
            say(plain(_told_of(cordon)), "yellow")
        if not pools:
            say("no rule file has `pools`")
    bad = any(claim["state"] == "unsatisfiable" for pool in pools for claim in pool["claims"])
    raise SystemExit(1 if bad else 0)


def _no_such(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, 1)
    hint = f"did you mean '{close[0]}'?" if close else f"pools: {', '.join(names) or 'none'}"
    return f"there is no pool '{quoted(name)}'; {hint}"


def _told_of(cordon: CordonJson) -> str:
    why = f": {cordon['reason']}" if cordon["reason"] else ""
    who = cordon["login"] or cordon["user"] or f"uid {cordon['uid']}"
    return f"{cordon['kind']} {cordon['name']} is cordoned since {local_time(cordon['since'])} by {who}{why}"


def _show(pool: PoolJson) -> None:
    devices, claims = pool["devices"], pool["claims"]
    number = {state: sum(device["state"] == state for device in devices) for state in ("leased", "free")}
    there = sum(device["present"] for device in devices)
    wait = [claim for claim in claims if claim["state"] != "bound"]
    expected = f" of {pool['expect']}" if pool["expect"] else ""
    many = (pool["expect"] or there) != 1
    say(
        f"{pool['name']}: {there}{expected} {'devices' if many else 'device'}, "
        f"{number['leased']} leased, {number['free']} free; {counted(len(claims), 'claim')}, "
        f"{len(wait)} not met",
        bold=True,
    )
    if devices:
        table(head(), [row(device) for device in devices])
    show_claims(wait)
    if pool["empty"]:
        say(f"nothing is in {', '.join(map(plain, pool['empty']))}")
