"""The corpus, and what each bad file is told. `python -m tests.unit.rulefile.golden` writes that anew."""

from __future__ import annotations

from pathlib import Path

from hotplugd.rulefile.load import parse

HERE = Path(__file__).parent
BAD = sorted((HERE / "bad").glob("*.yaml"))
GOOD = sorted((HERE / "good").glob("*.yaml"))


def told(path: Path) -> str:
    return "".join(each.render() + "\n" for each in parse(path.read_bytes(), path.name).diagnostics)


if __name__ == "__main__":
    for bad in BAD:
        bad.with_suffix(".txt").write_text(told(bad), encoding="utf-8")
