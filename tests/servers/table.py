"""The servers that tests can run with: which of Debian's releases and packages each comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.support.lab.server import Software


@dataclass(frozen=True, slots=True)
class Row:
    """A server in a root of its own.

    software  whose it is, as the tests say
    release   of Debian
    suites    others that packages are from, named as `package/suite`
    packages  the server's
    """

    software: Software
    release: str
    suites: tuple[str, ...]
    packages: tuple[str, ...]


def _incus(release: str, suite: str, *suites: str) -> Row:
    packages = (f"incus-base/{suite}", f"incus-client/{suite}")
    return Row("incus", release, (suite, *suites), packages)


SERVERS: Final = {
    "lxd-bookworm": Row("lxd", "bookworm", (), ("lxd", "lxd-client")),
    "incus6": _incus("bookworm", "bookworm-backports"),
    "incus7": _incus("trixie", "trixie-backports"),
    "incus-next": _incus("trixie", "experimental", "sid"),
    "lxd-trixie": Row("lxd", "trixie", (), ("lxd", "lxd-client")),
}
