"""The documentation: its examples hold, what is generated is current, and it can be built."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hotplugd.app import config_schema
from hotplugd.app.command_json import DiagnosticJson, RelatedJson
from hotplugd.cli import main
from hotplugd.hooks import schema as hooks_schema
from hotplugd.hooks.settings import parse as parse_hooks
from hotplugd.rulefile import json_schema
from hotplugd.rulefile.load import parse

PROJECT = Path(__file__).parents[2]
TEXTS = sorted((*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")))
EXAMPLES = [
    pytest.param(text, id=f"{path.relative_to(PROJECT)}-{number}")
    for path in TEXTS
    for number, text in enumerate(
        re.findall(r"```yaml\n((?:rules|hubs|pools):\n.*?)```", path.read_text("utf-8"), re.DOTALL)
    )
]
HOOKS = [
    pytest.param(text, id=f"{path.relative_to(PROJECT)}-{number}")
    for path in TEXTS
    for number, text in enumerate(
        re.findall(r"```yaml\n(hooks:\n.*?)```", path.read_text("utf-8"), re.DOTALL)
    )
]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")


def generated() -> tuple[Mapping[str, Callable[[], str]], Callable[[str], Path]]:
    spec = importlib.util.spec_from_file_location("generate", PROJECT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PAGES, module.path_of


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_of_rules_has_no_mistake(text: str) -> None:
    loaded = parse(text, "example.yaml")
    assert [each.render() for each in loaded.diagnostics] == []
    assert loaded.rules.rules


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_of_rules_goes_by_no_bus_number(text: str) -> None:
    controllers = {str(bus): f"/sys/devices/pci0000:00/0000:00:{bus:02x}.0" for bus in range(1, 5)}
    assert [each.render() for each in parse(text, "example.yaml", controllers).diagnostics] == []


@pytest.mark.parametrize("text", HOOKS)
def test_an_example_of_hooks_is_one(text: str) -> None:
    found, wrong = parse_hooks(text, "example.yaml")
    assert [each.render() for each in wrong] == []
    assert found


@pytest.mark.parametrize(
    ("which", "made", "path"),
    [
        ("rules", json_schema.as_text, "rulefile/rules.schema.json"),
        ("config", config_schema.as_text, "app/config.schema.json"),
        ("hooks", hooks_schema.as_text, "hooks/hooks.schema.json"),
    ],
)
def test_the_schemas_are_current_and_printed(which: str, made: Callable[[], str], path: str) -> None:
    assert (PROJECT / "hotplugd" / path).read_text("utf-8") == made()
    assert CliRunner().invoke(main, ["schema", which]).output == made()


def test_the_configurations_schema_has_every_key_of_the_example() -> None:
    properties = json.loads(config_schema.as_text())["properties"]
    example = (PROJECT / "config.example.yaml").read_text("utf-8")
    assert set(re.findall(r"(?m)^(?:# (?=[a-z]+:$))?([a-z_]+):", example)) == properties.keys()
    for name, value in re.findall(r"(?m)^([a-z_]+): ([^\[\n]+)$", example):
        assert re.search(properties[name]["pattern"], value), name


def test_generated_pages_are_current() -> None:
    pages, path_of = generated()
    for page, made in pages.items():
        assert path_of(page).read_text("utf-8") == made(), f"run `python docs/generate.py` for {page}"


def test_the_json_of_every_command_that_prints_some_is_described() -> None:
    page = (PROJECT / "docs/reference/json.md").read_text("utf-8")
    context = click.Context(main)
    every = {name: main.get_command(context, name) for name in main.list_commands(context)}
    have = {
        name
        for name, each in every.items()
        if each is not None and "as_json" in {one.name for one in each.params}
    }
    told = {name for name in have if re.search(rf"`{name}( [A-Za-z-]+)* --json`", page)}
    assert have - told == {"monitor", "history"}  # their lines are events


def test_a_diagnostic_has_the_keys_that_are_described() -> None:
    rules = "rules:\n  - {name: a, match: {serial: A}, ignore: true}\n"
    (told,) = parse(rules + rules.partition("\n")[2], "x").errors
    document = told.as_json()
    assert document.keys() == DiagnosticJson.__annotations__.keys()
    assert told.related is not None
    assert told.related.as_json().keys() == RelatedJson.__annotations__.keys()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_lead_somewhere(path: Path) -> None:
    missing = [link for link in LINK.findall(path.read_text("utf-8")) if not (path.parent / link).exists()]
    assert missing == []


def test_the_files_that_architecture_names_are_there() -> None:
    text = (PROJECT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    folder, missing = "", []
    for name in re.findall(r"`([a-z_/]+\.py)`", text):
        folder = name.rpartition("/")[0] or folder
        path = PROJECT / "hotplugd" / folder / name.rpartition("/")[2]
        missing += [name] if not path.exists() else []
    assert missing == []


def test_the_files_that_other_files_name_are_there() -> None:
    """As `pools.flaps` in the first words of a file."""
    code = PROJECT / "hotplugd"
    packages = "|".join(each.name for each in code.iterdir() if each.is_dir())
    for path in code.rglob("*.py"):
        words = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        for package, name in re.findall(rf"`({packages})[./]([a-z_]+)(?:\.py)?`", words):
            there = code / package / name
            assert there.is_dir() or there.with_suffix(".py").is_file(), f"{path}: {package}.{name}"


def test_what_newcomers_read_first_is_read_in_an_hour() -> None:
    text = (PROJECT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    listed = re.findall(
        r"^\d\. ([^:]*):", text.partition("in this order:")[2].partition("## ")[0], re.MULTILINE
    )
    files = [PROJECT / "hotplugd" / each for each in re.findall(r"`([a-z_/]+\.py)`", " ".join(listed))]
    assert len(files) == len(set(files)) > 10
    assert sum(len(each.read_text("utf-8").splitlines()) for each in files) < 3000


def test_the_readme_is_short() -> None:
    assert (PROJECT / "README.md").stat().st_size < 8000


def test_it_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        "docs",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "index.html").is_file()
