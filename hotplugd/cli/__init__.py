"""The command line: one file a command, imported only when it is called.

Exit codes: 0 fine, 1 problems found, 2 wrong usage; `status`, `pool`, `lease`, `cordon`, `uncordon`, `drain`,
`reload`, `attach`, `detach` and `undo` 3 where no daemon runs; `run` 78 where the rules or the configuration
have errors; `health` has its own.
"""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Collection
from difflib import get_close_matches
from io import TextIOWrapper
from typing import Final

import click

from hotplugd import __version__
from hotplugd.app.control_client import ControlError
from hotplugd.model.text import quoted

_COMMANDS: Final = {
    "run": "Attach devices as they come: the daemon.",
    "check": "Check rule files and the configuration.",
    "devices": "List the devices that rules can see.",
    "plan": "Say what the daemon would change now.",
    "explain": "Say where a device goes, and why.",
    "topology": "Draw USB hubs and ports: what is where, and what is free.",
    "suggest": "Suggest a rule for a device, or names for hubs and ports.",
    "pool": "Show pools: who has which device, and who waits.",
    "lease": "List the devices of pools that are leased; end or move a lease.",
    "cordon": "Have a device, a location or an instance of a pool given nothing more.",
    "uncordon": "Take a cordon away.",
    "drain": "Cordon something, and end its leases.",
    "status": "Ask the running daemon how things are.",
    "monitor": "Show what happens, as it happens.",
    "history": "Show what happened to a device or an instance.",
    "health": "Say whether the daemon does its work, for probes.",
    "serve": "Serve metrics for Prometheus.",
    "hooks": "Run commands when something happens to a device.",
    "reload": "Have the daemon read its files again.",
    "schema": "Print the JSON Schema of rules, configuration or hooks, for editors.",
    "test": "Test rules by devices and where they must go.",
    "record": "Write down the devices that are there, to try rules by.",
    "report": "Write all that a report on a fault needs into a file, serial numbers masked.",
    "attach": "Put a device into an instance by hand, whatever rules say.",
    "detach": "Take a device out of its instance by hand, or everything out of all.",
    "undo": "Have the rules decide about a device again.",
    "reset": "Have the port reset a USB device.",
    "port": "Switch a port of a USB hub off or on, or off and on.",
    "help": "Show what a command does, and its options.",
}
# What standard output says that leads to a file. A pipe that nobody reads is click's matter.
_CANNOT_WRITE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# The command that has commands of its own.
_GROUP: Final = "lease"
# Nobody types these.
_HIDDEN: Final = ("inject", "roots", "seal", "udevdb", "udevrules", "usb")


def unknown(name: str, commands: Collection[str] = _COMMANDS) -> str:
    """What to say where there is no command of that name among these. Printable."""
    close = get_close_matches(name, commands, 1)
    hint = f"did you mean '{close[0]}'?" if close else f"one of {', '.join(commands)}"
    return f"no command '{quoted(name)}'; {hint}"


class _Lazy(click.Group):
    """Imports a command's module when the command is called, and not for the list of commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in (*_COMMANDS, *_HIDDEN):
            return None
        module = importlib.import_module(f"hotplugd.cli.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            group = self.get_command(ctx, _GROUP)
            if isinstance(group, click.Group) and args[0] in group.commands:
                ctx.fail(f"no command '{args[0]}'; did you mean '{_GROUP} {args[0]}'?")
            ctx.fail(unknown(args[0]))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        # A name that the terminal's encoding lacks is no reason to say nothing.
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except ControlError as error:
            click.echo(f"hotplugd: {error}", err=True)
            raise SystemExit(1) from None
        except OSError as error:
            if error.errno not in _CANNOT_WRITE or ctx.invoked_subcommand in ("run", *_HIDDEN):
                raise
            click.echo(f"hotplugd: standard output cannot be written: {error.strerror}", err=True)
            raise SystemExit(1) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hotplugd")
def main() -> None:
    """Physical devices into running LXD and Incus containers, by rules, as they are plugged in."""
