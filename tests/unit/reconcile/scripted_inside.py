"""Commands and files inside instances, as tests say, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hotplugd.model.pool_file import PoolFile
from hotplugd.model.ports import Ran
from hotplugd.model.values import InstanceName
from tests.support.virtual import later, now


class ScriptedCommands:
    """What commands inside end with.

    answer  what comes of a command, by its instance and words; may raise
    takes   how long each takes, in seconds
    ran     when it was asked for which, where
    """

    def __init__(self) -> None:
        self.answer: Callable[[InstanceName, Sequence[str]], Ran] = lambda _name, _words: Ran(0, b"")
        self.takes = 0.0
        self.ran: list[tuple[float, str, tuple[str, ...]]] = []

    async def run(self, name: InstanceName, command: Sequence[str], within: float, given: bytes = b"") -> Ran:
        self.ran.append((now(), name.name, tuple(command)))
        assert within > 0
        assert not given or given == b"000ehost:devices-l"
        await later(self.takes)
        return self.answer(name, command)


class ScriptedFiles:
    """What is put inside, and what runs there.

    commands   what comes of commands inside
    placed     the files that were put inside, with what is in them, in their order
    on_host    what is in files of the host's
    misplaced  raises what putting a file inside fails with
    """

    def __init__(self) -> None:
        self.commands = ScriptedCommands()
        self.placed: list[tuple[float, str, str, bytes]] = []
        self.on_host: dict[str, bytes] = {}
        self.misplaced: Callable[[PoolFile], None] = lambda _: None

    async def put_file(self, name: InstanceName, file: PoolFile, content: bytes) -> None:
        self.misplaced(file)
        self.placed.append((now(), name.name, file.path, content))

    async def trusted_file(self, source: str) -> bytes:
        if source not in self.on_host:
            raise OSError(f"{source} cannot be opened, or is a link: No such file or directory")
        return self.on_host[source]
