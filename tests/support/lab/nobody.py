"""Commands as somebody who is not root."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

# Where Python and this code are may be closed to others: everything is loaded before root is given up.
_RUN = """
import encodings.ascii, importlib, os, pkgutil, sys
import click.testing, hotplugd
for module in pkgutil.walk_packages(hotplugd.__path__, "hotplugd."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
os.setgroups([int(each) for each in sys.argv.pop(1).split()])
os.setgid(65534)
os.setuid(65534)
from hotplugd.cli import main
main(prog_name="hotplugd")
"""


def command_of_nobody(*groups: int) -> tuple[str, ...]:
    """The words with which hotplugd begins as `nobody` who is in these groups, without any capability."""
    return (sys.executable, "-c", _RUN, " ".join(map(str, groups)))


def as_nobody(*words: object, within: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run a hotplugd command as `nobody`, without any capability. within: words before the program"""
    return subprocess.run(
        [*within, *command_of_nobody(), *map(str, words)], cwd="/", capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
