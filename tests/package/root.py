"""A root file system of a Debian release in which the package's dependencies are, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.lab import debian
from tests.support.lab.debian import PROJECT

# In a mount namespace of its own, which takes the mounts with it. $1 lower, $2 upper, $3 work, $4 the root.
_ENTER = (
    'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"; mount -t proc proc "$4/proc"; '
    'root=$4; shift 4; exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@"'
)
# Of no package: what dpkg, the linker and the packages' scripts keep for themselves.
_OTHERS = (
    "/var/lib/dpkg",
    "/var/lib/systemd/catalog/database",
    "/var/log",
    "/var/cache",
    "/etc/ld.so.cache",
    "/proc",
    "/tmp",
)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a program; `output` has what it said on both ways."""

    code: int
    output: str


class Root:
    """One that is fresh: what is written in it goes with `folder`."""

    def __init__(self, base: Path, folder: Path) -> None:
        self._base = base
        self._folders = [folder / each for each in ("upper", "work", "whole")]
        for each in self._folders:
            each.mkdir()
        self.upper = self._folders[0]

    def run(self, *words: str) -> Done:
        """Run a program in there, as root."""
        command: list[str | Path] = [
            "unshare",
            "--mount",
            "sh",
            "-ec",
            _ENTER,
            "sh",
            self._base,
            *self._folders,
            *words,
        ]
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return Done(done.returncode, done.stdout.decode())

    def must(self, *words: str) -> str:
        """Run one that must succeed. Returns its output."""
        done = self.run(*words)
        assert done.code == 0, f"{' '.join(words)}: {done.code}\n{done.output}"
        return done.output

    def install(self, package: Path) -> str:
        """With dpkg, as apt-get would. Manual pages too, which the root goes without."""
        (self.upper / "tmp").mkdir(exist_ok=True)
        shutil.copy(package, self.upper / "tmp")
        included = "--path-include=/usr/share/*"
        return self.must(
            "dpkg",
            "--force-confdef",
            "--force-confold",
            "--force-unsafe-io",
            included,
            "-i",
            f"/tmp/{package.name}",
        )

    def written(self) -> set[str]:
        """The files that were not in the base, or are changed; not those of dpkg and the like."""
        found = {
            f"/{path.relative_to(self.upper)}"
            for path in self.upper.rglob("*")
            if not path.is_dir() or path.is_symlink()
        }
        return {each for each in found if not each.startswith(_OTHERS)}


@contextmanager
def root(release: str) -> Iterator[Root]:
    """A fresh root of a release; its base is made once, and kept."""
    text = (PROJECT / "packaging" / "debian" / "control").read_text("utf-8")
    depends = re.findall(r"(?m)^Depends: (.*)$", text)[0]
    packages = sorted({each.split()[0] for each in depends.split(", ") if not each.startswith("$")})
    made_from = [release.encode(), ",".join(packages).encode(), Path(debian.__file__).read_bytes()]

    def build(folder: Path) -> None:
        debian.bootstrap(folder / "root", release, [], packages, "packaging/debian/control")

    base = debian.kept("package", made_from, build)
    # Not below /tmp, which may be a file system that takes no overlay's folders.
    with tempfile.TemporaryDirectory(prefix="hpp-", dir=base) as folder:
        yield Root(base / "root", Path(folder))
