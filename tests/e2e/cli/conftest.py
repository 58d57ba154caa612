"""Commands without a daemon: a configuration and rules of a test's own, on the session's server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Protocol

import pytest
from click.testing import CliRunner, Result

from hotplugd.cli import main
from tests.support.lab.commands import Commands
from tests.support.lab.daemon import Daemon
from tests.support.lab.server import Server


class Configure(Protocol):
    """A daemon that is not started, to run commands with its configuration."""

    def __call__(
        self, rules: str | Mapping[str, str], environment: Mapping[str, str] | None = None
    ) -> Daemon: ...


@pytest.fixture
def configure(server: Server, commands: Commands) -> Iterator[Configure]:
    with ExitStack() as undo:

        def make(rules: str | Mapping[str, str], environment: Mapping[str, str] | None = None) -> Daemon:
            made = Daemon(server.socket, rules, environment, commands=commands)
            undo.callback(made.close)
            return made

        yield make


@pytest.fixture
def hotplugd() -> Callable[..., Result]:
    """Runs a command in this process, for those that need no daemon, no server and no devices."""
    runner = CliRunner()

    def run(*words: object) -> Result:
        done = runner.invoke(main, list(map(str, words)))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run
