"""File systems made of Debian's packages and of the wheels in the lock files, kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[3]
LOCKS: Final = (PROJECT / "requirements.lock", PROJECT / "requirements-dev.lock")
# Where a root file system has Python and the wheels.
VENV: Final = "/opt/hotplugd"
# systemd-python comes as source, and is Debian's there; the others only build it.
_NOT_WHEELS: Final = ("systemd-python", "setuptools", "wheel")
_PLATFORMS: Final = tuple(f"manylinux{each}_x86_64" for each in ("_2_34", "_2_28", "_2_17", "2014"))
_UNREAD: Final = ("man", "locale", "doc")
_KEPT_DAYS: Final = 14
# What Debian says of these holds for a week, and a mirror may be older.
_CHANGING: Final = ("sid", "experimental")
# What mmdebstrap and apt say while all is well, and how much is shown of what they say else.
_PROGRESS: Final = (
    "I: ",
    "Get:",
    "Hit:",
    "Ign:",
    "Fetched ",
    "Reading ",
    "Building ",
    "W: Download is performed",
)
_TOLD: Final = 20
_WIDE: Final = 200


def kept(kind: str, made_from: Iterable[bytes], build: Callable[[Path], None]) -> Path:
    """The cache's folder of this kind for what it is made from; `build` fills one that is missing.

    What nobody used for two weeks goes. Raises what `build` raises, and keeps nothing then.
    """
    key = hashlib.sha256(b"\0".join(made_from)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hotplugd" / kind
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / key
    if not folder.exists():
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=cache))
        try:
            fresh.chmod(0o755)
            build(fresh)
            try:
                fresh.rename(folder)
            except OSError:
                # Somebody else has built it meanwhile.
                if not folder.exists():
                    raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    os.utime(folder)
    for other in cache.iterdir():
        if time.time() - other.stat().st_mtime > _KEPT_DAYS * 86400:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def bootstrap(
    root: Path, release: str, suites: Sequence[str], packages: Sequence[str], named_in: str
) -> None:
    """A root file system of a release, with these packages.

    suites    further ones, for packages that are named as `package/suite`
    named_in  the file that names the packages, for the error
    Raises SystemExit, with apt's words where it cannot be made, and where this machine is not Debian's.
    """
    sources = root.with_suffix(".list")
    sources.write_text(_sources(release, suites))
    lasting = not any(each in suites for each in _CHANGING)
    words: list[str | Path] = [
        "mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}",
        # Without it the newest of all suites would be taken of every package, where a suite lets apt.
        f'--aptopt=APT::Default-Release "/^{release}(|-updates|-security)$/"',
        *(() if lasting else ('--aptopt=Acquire::Check-Valid-Until "false"',)),
        *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in _UNREAD),
        release, root, sources,
    ]  # fmt: skip
    # Told to be quiet it would keep apt's errors to itself.
    done = subprocess.run(
        words,
        check=False,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode != 0:
        raise SystemExit(_not_made(release, suites, packages, named_in, done.stderr))


def extract(tree: Path, release: str, package: str) -> None:
    """Unpack a package of a release, and what it depends on, into a tree that is no root.

    Raises CalledProcessError.
    """
    sources = tree.with_suffix(".list")
    sources.write_text(_sources(release, ()))
    run("mmdebstrap", "--quiet", "--variant=extract", f"--include={package}", release, tree, sources)


def _not_made(release: str, suites: Sequence[str], packages: Sequence[str], named_in: str, said: str) -> str:
    lines = [line for line in said.splitlines() if not line.startswith(_PROGRESS)]
    return (
        f"expected a root of Debian's {', '.join((release, *suites))} with {' '.join(packages)}, "
        "and it could not be made:\n"
        + "".join(f"    {line[:_WIDE]}\n" for line in lines[-_TOLD:])
        + "Where a package or a suite is not found, or needs what is not, the mirror has others by now: "
        f"change what {named_in} names. Where an address does not answer, try again."
    )


def install_wheels(root: Path, tests: Sequence[str]) -> None:
    """A virtual environment in a root, with what the project needs and these of the development lock."""
    version = lines("chroot", root, "python3", "-c", 'import sys; print("%d.%d" % sys.version_info[:2])')[0]
    runtime, development = map(_pinned, LOCKS)
    chosen = {name: text for name, text in runtime.items() if name not in _NOT_WHEELS}
    chosen |= {name: development[name] for name in tests}
    wanted = root / "tmp" / "wheels.lock"
    wanted.write_text("".join(chosen.values()))
    wheels = root / "tmp" / "wheels"
    run(
        sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--require-hashes",
        "--no-deps", "--only-binary=:all:", f"--python-version={version}", "--implementation=cp",
        f"--abi=cp{version.replace('.', '')}", "--abi=abi3", "--abi=none",
        *(f"--platform={each}" for each in _PLATFORMS), f"--dest={wheels}", f"--requirement={wanted}",
    )  # fmt: skip
    run("chroot", root, "python3", "-m", "venv", "--system-site-packages", VENV)
    pip = (f"{VENV}/bin/python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
    names = [f"/tmp/wheels/{each.name}" for each in wheels.iterdir()]
    run("chroot", root, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *pip, *names)
    shutil.rmtree(wheels)
    wanted.unlink()


def run(*words: str | Path, cwd: Path | None = None) -> None:
    """Run a program that asks nothing. Raises CalledProcessError."""
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, cwd=cwd)


def lines(*words: str | Path) -> Sequence[str]:
    """What a program writes. Raises CalledProcessError."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()


def _sources(release: str, suites: Sequence[str]) -> str:
    """A release, with its updates, from where this machine has its own. Raises SystemExit if from nowhere."""
    wanted = ("Created-By: Packages", "Component: main", "Origin: Debian")
    found = [
        line.split() for line in lines("apt-get", "indextargets", "--format=$(REPO_URI) $(CODENAME)", *wanted)
    ]
    # Such as bookworm, bookworm-updates and bookworm-security: the last is at another place.
    suffixes = {(uri, name.partition("-")[2]) for uri, name in found}
    archives = {uri for uri, suffix in suffixes if not suffix}
    if not archives:
        raise SystemExit(
            "expected Debian's sources in /etc/apt, and found none of a release: "
            "what the tests run in is made of its packages"
        )
    chosen = {f"{uri} {release}" for uri in archives}
    chosen |= {f"{uri} {release}-{suffix}" for uri, suffix in suffixes if suffix in ("updates", "security")}
    chosen |= {f"{uri} {suite}" for uri in archives for suite in suites}
    return "".join(f"deb {line} main\n" for line in sorted(chosen))


def _pinned(lock: Path) -> dict[str, str]:
    """The text of each requirement of a lock file, hashes and all, by name."""
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", lock.read_text())
    return {block.partition("==")[0]: block for block in blocks if "==" in block.partition("\n")[0]}
