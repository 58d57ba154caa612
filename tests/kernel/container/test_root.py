"""What is seen in real containers whose root plants things on the way."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from hotplugd.container.root import Lost, Network, Root, look
from hotplugd.model.values import Devnum, Inside, Node
from tests.support.lab.container import HOSTS_NETWORK, Container
from tests.support.lab.roots import network_of, root_of
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

# A container without a network of its own making.
ALONE = frozenset({"lo"})


@pytest.fixture(scope="module")
def box(server: Server) -> Iterator[Container]:
    """A container for all of these tests; each cleans up behind itself, or uses names of its own."""
    container = server.launch()
    yield container
    container.delete()


@pytest.fixture
def own(server: Server) -> Iterator[Container]:
    """A container for one test to ruin."""
    container = server.launch()
    yield container
    container.delete()


def see(
    container: Container, *paths: str, users: tuple[str, ...] = (), groups: tuple[str, ...] = ()
) -> Inside:
    with closing(root_of(container.pid)) as root:
        return look(*root.duplicate(), paths, users, groups)


def shell(container: Container, script: str) -> None:
    done = container.run("sh", "-ec", script)
    assert done.code == 0, done.output


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


class TestNodes:
    def test_a_node_is_seen_with_its_number_and_permissions(self, box: Container) -> None:
        entry = {"type": "unix-char", "source": "/dev/zero", "path": "/dev/deep/down/here", "mode": "0640"}
        box.patch({"devices": {"mine": entry}})
        try:
            seen = see(box, "/dev/deep/down/here", "/dev/null")
        finally:
            box.remove_device("mine")
        assert seen.nodes == {
            "/dev/deep/down/here": Node(Devnum("char", 1, 5), 0o640),
            "/dev/null": Node(Devnum("char", 1, 3), 0o666),
        }
        assert see(box, "/dev/deep/down/here").nodes == {"/dev/deep/down/here": None}

    def test_nothing_is_seen_where_nothing_is(self, box: Container) -> None:
        paths = ("/dev/none", "/dev/none/none/none", "/dev/null/none", "/none")
        assert see(box, *paths).nodes == dict.fromkeys(paths)

    def test_a_link_to_a_node_is_no_node(self, box: Container) -> None:
        shell(box, "ln -s /dev/null /dev/absolute; ln -s null /dev/relative; ln -s /dev/loop /dev/loop")
        links = {"/dev/absolute": "/dev/null", "/dev/relative": "null", "/dev/loop": "/dev/loop"}
        assert see(box, *links).nodes == {path: Node(None, 0o777, to) for path, to in links.items()}

    @pytest.mark.parametrize("target", ["/dev", "../dev", "/proc/1/root/dev"])
    def test_a_linked_folder_on_the_way_leads_nowhere(self, box: Container, target: str) -> None:
        shell(box, f"rm -f /mnt/way; ln -s {target} /mnt/way; ls /mnt/way/null")
        assert see(box, "/mnt/way/null", "/mnt/way/pts/ptmx").nodes == {
            "/mnt/way/null": None,
            "/mnt/way/pts/ptmx": None,
        }

    def test_a_container_without_its_dev_does_not_show_ours(self, own: Container) -> None:
        shell(own, "umount -l /dev; rm -rf /dev; ln -s /proc/1/root/dev /dev || true; ls -ld /dev")
        assert see(own, "/dev/null", "/dev/vda", "/dev/tty0").nodes == {
            "/dev/null": None,
            "/dev/vda": None,
            "/dev/tty0": None,
        }

    def test_what_is_no_device_is_seen_as_none(self, box: Container) -> None:
        shell(box, "umask 0; mkdir -m 0700 /dev/folder; mkfifo -m 0622 /dev/fifo; echo hello > /dev/file")
        shell(box, "syslogd -O /dev/null")
        eventually(lambda: box.run("test", "-S", "/dev/log").code == 0)
        try:
            assert see(box, "/dev/folder", "/dev/fifo", "/dev/file", "/dev/log").nodes == {
                "/dev/folder": Node(None, 0o700),
                "/dev/fifo": Node(None, 0o622),
                "/dev/file": Node(None, 0o666),
                "/dev/log": Node(None, 0o666),
            }
        finally:
            shell(box, "killall syslogd")

    def test_dots_lead_neither_up_nor_out(self, box: Container, tmp_path: Path) -> None:
        (tmp_path / "ours").touch()
        seen = see(box, f"/../../../../../../..{tmp_path}/ours", "/dev/../../../dev/null", "//dev/./null")
        assert list(seen.nodes.values()) == [None, None, Node(Devnum("char", 1, 3), 0o666)]

    @pytest.mark.parametrize(
        "path", ["/dev/a\0b", "/dev/\ud800", "/dev/" + "x" * 300, "/dev" + "/x" * 3000, "/", "", "/../.."]
    )
    def test_no_node_has_a_name_that_is_none(self, box: Container, path: str) -> None:
        node = see(box, path, "/dev/null").nodes[path]
        assert node is None or node.devnum is None

    def test_looking_leaves_no_descriptor_open(self, box: Container) -> None:
        shell(box, "ln -sf /dev /mnt/leak")
        before = descriptors()
        for _ in range(20):
            see(box, "/dev/null", "/mnt/leak/null", "/none/none", "/dev/null/x", users=("root", "none"))
        assert descriptors() == before


class TestNames:
    @pytest.fixture
    def passwd(self, box: Container) -> Iterator[Path]:
        """The container's own file, put back afterwards."""
        folder = Path(f"/proc/{box.pid}/root/etc")
        shell(box, "cp -a /etc/passwd /etc/passwd.kept")
        yield folder / "passwd"
        shell(box, "rm -rf /etc/passwd; mv /etc/passwd.kept /etc/passwd")

    def test_names_are_looked_up_in_the_containers_own_files(self, box: Container) -> None:
        seen = see(box, users=("root", "daemon", "plugdev", "nobody"), groups=("plugdev", "video", "daemon"))
        assert seen.users == {"root": 0, "daemon": 1, "plugdev": None, "nobody": None}
        assert seen.groups == {"plugdev": 46, "video": 44, "daemon": None}

    @pytest.mark.parametrize(
        "plant",
        [
            "rm /etc/passwd",
            "rm /etc/passwd; mkdir /etc/passwd",
            "rm /etc/passwd; mkfifo /etc/passwd",
            "ln -sf /etc/group /etc/passwd",
            "ln -sf /dev/zero /etc/passwd",
            "rm /etc/passwd; ln -s passwd /etc/passwd",
            ": > /etc/passwd",
        ],
    )
    @pytest.mark.usefixtures("passwd")
    def test_no_name_is_known_where_the_file_is_none(self, box: Container, plant: str) -> None:
        shell(box, plant)
        assert see(box, users=("root", "video"), groups=("root",)) == Inside(
            interfaces=ALONE, users={"root": None, "video": None}, groups={"root": 0}
        )

    def test_a_linked_folder_gives_no_names_of_ours(self, own: Container) -> None:
        shell(own, "mv /etc /etc.away; ln -s /proc/1/root/etc.away /etc; cat /etc/passwd")
        assert see(own, users=("root",), groups=("root",)) == Inside(
            interfaces=ALONE, users={"root": None}, groups={"root": None}
        )

    @pytest.mark.parametrize(
        ("line", "number"),
        [
            (b"u:x:7:8::/:/bin/sh", 7),
            (b"u:x:7", 7),
            (b"u:x:007:", 7),
            (b"u:x", None),
            (b"u", None),
            (b"u:x:", None),
            (b"u:x:-1:", None),
            (b"u:x:0x7:", None),
            (b"u:x:7 :", None),
            (b" u:x:7:", None),
            (b"u:x:\xc2\xb2:", None),
            (b"u2:x:7:", None),
            (b"u:x:1:\nu:x:2:", 1),
            (b"u:x:\nu:x:2:", 2),
            (b"\xff\xfe\0\0:\x80:::::\n\0\nu:x:7:", 7),
            (b"u:x:" + b"1" * 5000 + b":", None),
        ],
    )
    def test_a_line_counts_when_it_gives_a_number(
        self, box: Container, passwd: Path, line: bytes, number: int | None
    ) -> None:
        passwd.write_bytes(b"first:x:5:\n" + line + b"\nlast:x:6:\n")
        assert see(box, users=("first", "u", "last")).users == {"first": 5, "u": number, "last": 6}

    def test_of_a_huge_file_the_beginning_is_read(self, box: Container, passwd: Path) -> None:
        passwd.write_bytes(b"near:x:5:\n" + b"#" * (4 << 20) + b"\nfar:x:6:\n")
        assert see(box, users=("near", "far")).users == {"near": 5, "far": None}


class TestRoot:
    @pytest.fixture
    def sleeper(self) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen(["sleep", "60"]) as process:
            yield process
            process.kill()

    def test_a_process_of_the_host_is_no_container(self, sleeper: subprocess.Popen[bytes]) -> None:
        before = descriptors()
        for pid in (1, os.getpid(), sleeper.pid, 2):
            with pytest.raises(Lost):
                root_of(pid)
        assert descriptors() == before

    def test_another_process_of_a_container_is_not_its_init(self, box: Container) -> None:
        shell(box, "sleep 60 >/dev/null 2>&1 &")
        children = Path(f"/proc/{box.pid}/task/{box.pid}/children")
        child = int(eventually(lambda: children.read_text().split())[0])
        with pytest.raises(Lost, match="not the init of a container"):
            root_of(child)
        # It is `sh` for a while.
        eventually(lambda: box.run("killall", "sleep").code == 0)

    def test_a_process_that_has_ended_is_lost_reaped_or_not(self) -> None:
        before = descriptors()
        with subprocess.Popen(["unshare", "--pid", "--fork", "--mount-proc", "true"]) as process:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            with pytest.raises(Lost, match="No such"):
                root_of(process.pid)
        with pytest.raises(Lost, match="No such"):
            root_of(process.pid)
        assert descriptors() == before

    def test_the_end_of_a_container_is_heard_and_what_was_held_is_never_another(self, own: Container) -> None:
        pid = own.pid
        shell(own, "touch /dev/earlier")
        with closing(root_of(pid)) as root:
            assert select.select([root.pidfd], [], [], 0)[0] == []
            own.stop()
            assert select.select([root.pidfd], [], [], 10)[0] == [root.pidfd]
            with pytest.raises(Lost):
                root_of(pid)
            own.start()
            assert look(*root.duplicate(), ["/dev/earlier"], (), ()).nodes["/dev/earlier"] is not None
            assert see(own, "/dev/earlier").nodes == {"/dev/earlier": None}


class TestMounts:
    @pytest.fixture
    def held(self, box: Container) -> Iterator[Root]:
        with closing(root_of(box.pid)) as root:
            yield root

    @pytest.fixture
    def told(self, held: Root) -> Callable[[], bool]:
        """Whether something was mounted since the last time, asked as an event loop asks."""
        return lambda: select.select([held.mounts], [], [], 0)[0] == [held.mounts]

    def test_mounting_and_unmounting_inside_is_told_once_each(
        self, box: Container, told: Callable[[], bool]
    ) -> None:
        with ExitStack() as undo:
            box.run("true")
            assert not told()
            shell(box, "mount -t tmpfs none /mnt")
            undo.callback(box.run, "umount", "/mnt")
            assert told()
            assert not told()
            shell(box, "umount /mnt")
            assert told()
            assert not told()

    def test_a_node_that_the_server_attaches_is_a_mount(
        self, box: Container, told: Callable[[], bool]
    ) -> None:
        box.patch({"devices": {"mine": {"type": "unix-char", "source": "/dev/zero", "path": "/dev/here"}}})
        assert told()
        box.remove_device("mine")
        assert told()

    def test_what_is_mounted_elsewhere_is_not_told(self, own: Container, told: Callable[[], bool]) -> None:
        shell(own, "mount -t tmpfs none /mnt")
        assert not told()


class TestNetwork:
    def test_it_is_the_containers_and_so_is_the_user(self, box: Container) -> None:
        before = descriptors()
        with closing(root_of(box.pid)) as root:
            network = root.network(network_of(box.pid))
            assert isinstance(network, Network)
            with closing(os.fdopen(network.descriptor)) as held:
                assert os.path.samestat(os.fstat(held.fileno()), os.stat(f"/proc/{box.pid}/ns/net"))
            assert network.user == os.stat(f"/proc/{box.pid}/root/root").st_uid
            assert network.user > 0
        assert descriptors() == before

    def test_root_of_a_privileged_container_is_root(self, server: Server) -> None:
        container = server.launch(config={"security.privileged": "true"})
        with closing(root_of(container.pid)) as root:
            network = root.network(network_of(container.pid))
            assert network is not None
            os.close(network.descriptor)
            assert network.user == 0
        container.delete()

    def test_a_container_on_the_hosts_network_has_none(self, server: Server) -> None:
        container = server.launch(config=HOSTS_NETWORK)
        with closing(root_of(container.pid)) as root:
            before = descriptors()
            assert root.network(network_of(container.pid)) is None
            assert descriptors() == before
        container.delete()

    def test_one_that_ended_has_none_either(self, own: Container) -> None:
        with closing(root_of(own.pid)) as root:
            before = descriptors()
            network = network_of(own.pid)
            own.stop()
            with pytest.raises(Lost, match="cannot have its network namespace"):
                root.network(network)
            assert descriptors() == before
