"""The Debian package in roots of Debian's releases: installed, run, updated, removed and purged."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.package.root import Root, root
from tests.support.lab.debian import PROJECT
from tests.support.lab.package import VERSION, packages

pytestmark = [pytest.mark.timeout(600), pytest.mark.alone]
NATIVE = (
    "aiohttp._http_parser", "yaml._yaml", "cryptography.hazmat.bindings._rust", "_cffi_backend",
    "yarl._quoting_c", "multidict._multidict", "frozenlist._frozenlist", "propcache._helpers_c",
    "systemd.journal",
)  # fmt: skip
UNITS = sorted(
    path.name for path in (PROJECT / "systemd").glob("*.*") if path.suffix in (".service", ".socket")
)
# Of all users and groups of the host. Beside each is what it was before, and userdel(8) makes the last two.
NAMES = tuple(f"/etc/{each}" for each in ("passwd", "shadow", "group", "gshadow"))
OF_NAMES = {*NAMES, *(f"{each}-" for each in NAMES), "/etc/.pwd.lock", "/etc/subuid", "/etc/subgid"}
RULES = Path("/etc/hotplugd/rules.d/50-mine.yaml")
STATE = Path("/var/lib/hotplugd/state.json")
ENABLED = sorted(each for each in UNITS if each.endswith(".socket") or each == "hotplugd.service")


@pytest.fixture(scope="module")
def newer() -> Path:
    return packages()[0]


@pytest.fixture(scope="module")
def older() -> Path:
    return packages()[1]


@pytest.fixture(scope="module")
def installed(newer: Path) -> Iterator[Root]:
    """For tests that change nothing in it."""
    with root("bookworm") as one:
        one.install(newer)
        yield one


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_it_is_installed_updated_and_purged_without_a_trace(release: str, older: Path, newer: Path) -> None:
    with root(release) as one:
        before = one.written()
        one.install(older)
        assert one.must("hotplugd", "--version") == "hotplugd, version 0.0.1\n"
        one.must("sh", "-c", "echo 'most_plugs: 7' >> /etc/hotplugd/config.yaml")
        one.must("sh", "-c", f"mkdir -p {STATE.parent}; echo a > {STATE}; mkdir /run/hotplugd")
        one.must("sh", "-c", f"echo rules: > {RULES}")
        one.install(newer)
        assert f"Version: {VERSION}" in one.must("dpkg", "-s", "hotplugd")
        assert "most_plugs: 7" in one.must("cat", "/etc/hotplugd/config.yaml")
        assert one.run("ls", "/usr/lib/hotplugd/site-packages/hotplugd/gone.py").code != 0
        runs(one)
        assert one.must("getent", "group", "hotplugd").endswith(":\n")
        assert ":/usr/sbin/nologin\n" in one.must("getent", "passwd", "hotplugd-hooks")
        # As Debian's python3 does when it becomes another version.
        one.must("/usr/share/python3/runtime.d/hotplugd.rtupdate", "rtupdate", "python3.1", "python3.2")
        assert any(each.endswith(".pyc") for each in one.written())
        one.must("dpkg", "--remove", "hotplugd")
        # systemd's own helper keeps which units were enabled.
        kept = ("/etc/systemd/system/", "/var/lib/systemd/")
        left = {each for each in one.written() - before if not each.startswith(kept)}
        assert left - OF_NAMES == {"/etc/hotplugd/config.yaml", str(RULES), str(STATE)}
        one.must("dpkg", "--purge", "hotplugd")
        assert one.written() - before - OF_NAMES == set()
        assert "hotplugd" not in one.must("cat", *NAMES)
        assert one.must("find", "/", "-xdev", "-name", "*hotplugd*", "-not", "-path", "/tmp/*") == ""


def runs(one: Root) -> None:
    """With the release's Python, and compiled modules of that version; it writes nothing beside itself."""
    assert one.must("hotplugd", "--version") != "hotplugd, version 0.0.1\n"
    before = one.written()
    assert one.must("hotplugd", "check", "/usr/share/doc/hotplugd/examples").endswith("no errors\n")
    words = f"import sys; [__import__(each) for each in {NATIVE!r}]; print(sys.prefix)"
    assert one.must("/usr/lib/hotplugd/bin/python3", "-IB", "-c", words) == "/usr/lib/hotplugd\n"
    assert one.written() == before


def test_editors_find_the_schema_that_an_example_names(installed: Root) -> None:
    named = installed.must("sh", "-c", "grep -ho 'schema=.*' /usr/share/doc/hotplugd/examples/*.yaml")
    (path,) = {each.partition("=")[2] for each in named.splitlines()}
    assert '"rules"' in installed.must("cat", path)


def test_without_rules_and_settings_nothing_is_wrong(installed: Root) -> None:
    said = installed.must("hotplugd", "check")
    assert said.startswith("warning: no rules in /etc/hotplugd/rules.d")
    assert said.endswith("0 rules, 1 warning\n")


def test_every_unit_is_in_it_and_what_faces_outward_is_not_enabled(installed: Root) -> None:
    for each in UNITS:
        shipped = installed.must("cat", f"/usr/lib/systemd/system/{each}")
        assert shipped == (PROJECT / "systemd" / each).read_text()
    enabled = installed.must("find", "/etc/systemd/system", "-name", "hotplugd*", "-printf", "%f\\n")
    assert sorted(enabled.split()) == ENABLED
    others = {path.name for path in (PROJECT / "systemd").iterdir()} - set(UNITS)
    have = installed.must("dpkg", "-L", "hotplugd")
    assert all(f"/{each}\n" in have for each in others)


def test_the_files_of_the_page_are_in_it(installed: Root) -> None:
    have = installed.must("dpkg", "-L", "hotplugd")
    named = [path.name for path in (PROJECT / "hotplugd" / "web" / "static").iterdir()]
    assert len(named) >= 5
    assert all(f"/hotplugd/web/static/{each}\n" in have for each in named)


def test_the_manual_and_the_completion_are_there(installed: Root) -> None:
    have = [Path(each) for each in installed.must("dpkg", "-L", "hotplugd").split()]
    how_to = {f"hotplugd-{path.stem}.7" for path in (PROJECT / "docs" / "how-to").glob("*.md")}
    named = {
        "hotplugd.1",
        "hotplugd-rules.5",
        "hotplugd-config.5",
        "hotplugd.service.8",
        "hotplugd-tutorial.7",
    }
    assert how_to | named <= {each.stem for each in have if "man" in each.parts}
    asked = "_HOTPLUGD_COMPLETE=bash_complete COMP_WORDS='hotplugd sta' COMP_CWORD=1 hotplugd"
    assert installed.must("sh", "-c", asked) == "plain,status\n"
    scripts = {"bash-completion": "hotplugd", "zsh": "_hotplugd", "fish": "hotplugd.fish"}
    for shell, name in scripts.items():
        (path,) = (each for each in have if shell in each.parts and each.name == name)
        assert "_HOTPLUGD_COMPLETE=" in installed.must("cat", str(path))


def test_removed_while_devices_are_attached(installed: Root, newer: Path) -> None:
    link = "/dev/hotplugd/c-189-1-1a2b3c4d-5"
    made = "/dev/hotplugd/c-189-1-boot-5.made"
    installed.must("sh", "-c", f"mkdir /dev/hotplugd; ln -s /dev/null {link}; touch {made}")
    said = installed.must("dpkg", "--remove", "hotplugd")
    assert "devices that are attached (1) stay in their instances" in said
    assert "hotplugd detach --all" in said
    rule = (PROJECT / "rules" / "99-hotplugd.rules").read_text()
    assert installed.must("cat", "/run/udev/rules.d/99-hotplugd.rules") == rule
    assert "stay until the host is restarted" in installed.must("dpkg", "--purge", "hotplugd")
    assert installed.must("readlink", link) == "/dev/null\n"
    installed.install(newer)
    assert installed.run("ls", "/run/udev/rules.d/99-hotplugd.rules").code != 0
    installed.must("rm", "-r", "/dev/hotplugd")


def test_a_commit_gives_one_package(newer: Path) -> None:
    words: list[str | Path] = ["dpkg-deb", "--contents", newer]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    # Of when a file was written in the clone nothing is left.
    assert len({tuple(each.split()[3:5]) for each in lines}) == 1


def test_pages_of_the_manual_say_where_links_lead(newer: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", newer, tmp_path], check=True)
    words: list[str | Path] = [
        "man",
        "--local-file",
        "--pager=cat",
        tmp_path / "usr/share/man/man7/hotplugd-tutorial.7.gz",
    ]
    shown = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert "hotplugd-install(7)" in re.sub("\u2010\n +", "", shown)
    pages = list((tmp_path / "usr/share/man").rglob("*.gz"))
    texts = {each.name: gzip.decompress(each.read_bytes()).decode() for each in pages}
    # An address that leads nowhere: a link of the docs.
    assert [
        name for name, text in texts.items() if re.search(r"<(#[a-z-]+)?>", text.replace("\\&", ""))
    ] == []
    # A table of man's is as wide as its longest words, on a terminal that may be narrower.
    assert [name for name, text in texts.items() if "\n.TS" in text] == []
    others = {f"{each.stem.rpartition('.')[0]}(" for each in pages} - {"hotplugd("}
    listed = texts["hotplugd.1.gz"].replace("\\", "")
    assert [each for each in others if each not in listed] == []
