"""The documentation's commands are commands, and its examples of pools are read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import click
import pytest

from hotplugd.app import settings
from hotplugd.cli import main
from hotplugd.model.asker import Asker
from hotplugd.model.values import InstanceName
from hotplugd.pools.claims import claims_of
from hotplugd.pools.cordons import Cordon, Cordons
from hotplugd.rulefile.load import parse
from tests.support.devices import phone
from tests.support.virtual import in_virtual_time
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_leases import job, rules

PROJECT = Path(__file__).parents[2]
TEXTS = sorted((*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")))
_COMMAND = re.compile(r"(?m)^(?:[$#] )?(?:sudo )?(hotplugd [a-z].*)$")
# What an example leaves out that has a part of a file alone.
REST = {
    "pools": "pools: {android: {instances: 'runner-*'}}\n",
    "rules": "rules: [{name: phones, match: {vendor_id: 18d1}, attach: {pool: android}}]\n",
}


def blocks(text: str, *, fenced: bool) -> Iterator[str]:
    """What is between fences, or what has four blanks in front and stands by itself."""
    if fenced:
        yield from re.findall(r"(?ms)^```[a-z]*\n(.*?)^```$", text)
        return
    for part in re.split(r"\n{2,}", re.sub(r"(?ms)^```.*?^```$", "", text)):
        if all(line.startswith("    ") for line in part.strip("\n").splitlines()):
            yield dedent(part.strip("\n")) + "\n"


COMMANDS = [
    pytest.param(line, id=f"{path.relative_to(PROJECT)}: {line}")
    for path in TEXTS
    for fenced in (True, False)
    for block in blocks(path.read_text("utf-8"), fenced=fenced)
    for line in _COMMAND.findall(block)
]
# `test_docs` has those that are whole files.
EXAMPLES = [
    pytest.param(block, id=f"{path.relative_to(PROJECT)}-{number}")
    for path in TEXTS
    for number, block in enumerate(blocks(path.read_text("utf-8"), fenced=False))
    if re.match(r"(rules|hubs|pools|ready|allow):", block)
]


def test_there_are_some() -> None:
    assert len(COMMANDS) > 50
    assert len(EXAMPLES) > 5


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_one(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    for stop in ("|", ">", "&&", "2>&1"):
        words = words[: words.index(stop)] if stop in words else words
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
    # Raises UsageError where it takes no such words.
    command.make_context(command.name, words)


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_read(text: str) -> None:
    if text.startswith("allow:"):
        assert settings.parse(text, "config.yaml")[1] == ()
        return
    if text.startswith("ready:"):
        text = f"pools: {{android: {{instances: 'runner-*', {text.strip()}}}}}\n"
    missing = (rest for key, rest in REST.items() if "pool" in text and not re.search(f"(?m)^{key}:", text))
    loaded = parse(text + "".join(missing), "example.yaml")
    assert [each.render() for each in loaded.diagnostics] == []


def test_the_claims_of_the_how_to_are_read() -> None:
    page = (PROJECT / "docs" / "how-to" / "pools.md").read_text("utf-8")
    texts = re.findall(r"(?m)^\| `((?:android|none)[^`]*)` \|", page)
    assert len(texts) > 5
    pools = parse(REST["pools"] + REST["rules"], "x").rules.pools
    for text in texts:
        found, wrong = claims_of(InstanceName("default", "runner-1"), {"phone": text}, pools)
        assert [str(each) for each in wrong] == []
        assert len(found) == (text != "none")


@in_virtual_time
async def test_what_the_how_to_says_of_claims_is_what_is_said_of_them() -> None:
    page = (PROJECT / "docs" / "how-to" / "pools.md").read_text("utf-8")
    quotes = re.findall(r"(?m)^\| `((?:waiting|unsatisfiable): [^`]*)` \|", page)
    assert len(quotes) > 4
    said: set[str] = set()
    for cordons, devices, texts in (
        ([], [1, 2, 3], ["android serial=R5C001", "android count=3", "android"]),
        ([], [], ["android"]),
        ([Cordon("instance", "default/job-0", "", "", Asker(0))], [1], ["android"]),
        ([Cordon("device", "serial:R5C001", "", "", Asker(0))], [1], ["android", "android count=3"]),
        ([], [1], ["android", "android", "android serial=X"]),
    ):
        bench = Bench(*(job(number, text) for number, text in enumerate(texts)), rules=rules())
        bench.reconciler.assignments.leases.set_cordons(Cordons.made_of(cordons))
        await bench.start(*map(phone, devices))
        claims = bench.reconciler.assignments.leases.leasing.allocation.claims
        said |= {f"{each.state}: {each.reason}" for each in claims}
    for quote in quotes:
        parts = re.split(r"[a-z]+-\d+|\d+|…", quote)
        pattern = ".+".join(map(re.escape, parts))
        assert any(re.fullmatch(pattern + ".*", each) for each in said), "\n".join([quote, *said])
