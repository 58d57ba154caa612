"""Files that are put into containers, whatever those inside have made of the paths."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from hotplugd.model.pool_file import PoolFile
from hotplugd.model.ports import ServerError
from hotplugd.server.client import Lxd
from tests.conftest import StartDaemon
from tests.e2e.test_client import name_of, run
from tests.e2e.test_pools import claiming, had, rules, told
from tests.support.lab.container import Container
from tests.support.lab.kernel import Console
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

pytestmark = pytest.mark.pools

PATH = "/root/.android/adbkey"
FILE = PoolFile("", PATH, 1000, 1001, "0640")


def put(server: Server, container: Container, file: PoolFile = FILE, content: bytes = b"secret") -> None:
    async def work(lxd: Lxd) -> None:
        await lxd.put_file(name_of(container), file, content)

    run(server, work)


def seen(container: Container, path: str = PATH) -> str:
    return container.run("/bin/stat", "-c", "%F %u %g %a", path).output.strip()


def test_a_file_is_put_with_owner_mode_and_folders(server: Server, container: Container) -> None:
    put(server, container)
    assert seen(container) == "regular file 1000 1001 640"
    assert seen(container, "/root/.android") == "directory 1000 1001 755"
    assert container.run("/bin/cat", PATH).output == "secret"


def test_one_that_is_there_is_replaced_with_owner_and_mode(server: Server, container: Container) -> None:
    container.run("/bin/mkdir", "-m", "0711", "/root/.android")
    container.run("/bin/sh", "-c", f"echo mine >{PATH}; chmod 666 {PATH}; chown 5:5 {PATH}")
    put(server, container)
    assert seen(container) == "regular file 1000 1001 640"
    # The folder was there, and stays as it was.
    assert seen(container, "/root/.android") == "directory 0 0 711"


def test_links_inside_lead_to_nothing_of_the_hosts(
    server: Server, container: Container, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("the host's")
    victim.chmod(0o600)
    for target in (victim, f"../../../../../../../..{victim}", f"/proc/1/root{victim}"):
        container.run("/bin/rm", "-rf", "/root/.android")
        container.run("/bin/mkdir", "/root/.android")
        container.run("/bin/ln", "-s", str(target), PATH)
        put(server, container)
        assert seen(container) == "regular file 1000 1001 640"
    # A folder on the way is a link to one of the host's.
    container.run("/bin/rm", "-rf", "/root/.android")
    container.run("/bin/ln", "-s", str(tmp_path), "/root/.android")
    with suppress(ServerError):
        put(server, container, PoolFile("", "/root/.android/victim", 1000, 1001, "0640"))
    assert (victim.read_text(), victim.stat().st_mode & 0o777, victim.stat().st_uid) == (
        "the host's",
        0o600,
        0,
    )
    assert sorted(each.name for each in tmp_path.iterdir()) == ["victim"]


def test_what_is_in_the_way_is_refused(server: Server, container: Container) -> None:
    container.run("/bin/mkdir", "-p", f"{PATH}/full")
    with pytest.raises(ServerError):
        put(server, container)
    assert seen(container).startswith("directory")


def test_a_job_has_its_pools_key_and_reads_its_leases(
    launch: Callable[..., Container], console: Console, daemon: StartDaemon, tmp_path: Path
) -> None:
    key = tmp_path / "adbkey"
    key.write_text("secret")
    key.chmod(0o600)
    console.plug()
    job = launch(config=claiming())
    files = f", files: [{{source: {key}, path: {PATH}}}], leases_file: /run/phones.json"
    farm = daemon(rules([console], files))
    eventually(lambda: had(job, [console]) == [console.number])
    assert job.run("/bin/cat", PATH).output == "secret"
    assert seen(job) == "regular file 0 0 600"
    eventually(lambda: f'"path": "{console.node}"' in job.run("/bin/cat", "/run/phones.json").output)
    assert farm.is_fine()
    key.chmod(0o666)
    farm.reload()
    other = launch(config=claiming())
    job.delete()
    eventually(lambda: had(other, [console]) == [console.number])
    eventually(lambda: any("may be written by others than root" in each for each in told(farm)))
