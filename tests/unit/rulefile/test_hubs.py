"""The section `hubs` of rule files: what the corpus of bad files does not show."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final

import pytest

from hotplugd.rulefile.bus_numbers import usb3_halves
from hotplugd.rulefile.json_schema import as_text
from hotplugd.rulefile.load import Loaded, load, parse
from hotplugd.rules.hubs import Hub

ONE = 'hubs: {shelf-1: {path: "pci-0000:00:14.0-usb-0:3", ports: {1: "1"}}}\n'
RULE = "rules: [{name: a, match: {location: 'shelf-1/*'}, ignore: true}]\n"
CONTROLLERS = dict.fromkeys(("1", "2"), "/sys/devices/pci0000:00/0000:00:14.0")


def said(loaded: Loaded) -> list[str]:
    return [f"{Path(each.file).name}:{each.line}: {each.message}" for each in loaded.diagnostics]


def test_a_hub_is_read() -> None:
    loaded = parse(
        "hubs:\n  a: {path: [pci-0, pci-0-usbv3-0:1], ports: {left: 1, 04: 4.10}}\n"
        "  b: {serial: 0123, ports: {1: 1}}\n"
        "rules: [{name: a, match: {location: '*'}, ignore: true}]",
        "x",
    )
    assert loaded.diagnostics == ()
    assert loaded.rules.hubs.hubs == (
        Hub("a", ("pci-0", "pci-0-usbv3-0:1"), "", {"left": "1", "04": "4.10"}),
        Hub("b", (), "0123", {"1": "1"}),
    )


def test_a_file_may_have_hubs_alone() -> None:
    loaded = parse(ONE, "x")
    assert loaded.diagnostics == ()
    assert [hub.name for hub in loaded.rules.hubs.hubs] == ["shelf-1"]
    (error,) = parse("{}", "x").diagnostics
    assert error.message == "a rule file needs `rules`, `hubs` or `pools`"


@pytest.mark.parametrize("names", [("a.yaml", "b.yaml"), ("b.yaml", "a.yaml")])
def test_rules_know_the_hubs_of_all_files(tmp_path: Path, names: tuple[str, str]) -> None:
    for name, text in zip(names, (ONE, RULE), strict=True):
        (tmp_path / name).write_text(text)
    loaded = load([tmp_path])
    assert loaded.diagnostics == ()
    (rule,) = loaded.rules.rules
    assert rule.keys == loaded.rules.keys
    assert next(key for key in rule.keys if key.name == "location").column


def test_a_hub_of_another_file_is_a_second_one(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ONE)
    (tmp_path / "b.yaml").write_text(ONE)
    (tmp_path / "c.yaml").write_text(RULE)
    loaded = load([tmp_path])
    assert said(loaded) == ["b.yaml:1: a second hub 'shelf-1'"]
    assert loaded.diagnostics[0].related is not None
    assert loaded.diagnostics[0].related.file == str(tmp_path / "a.yaml")
    assert (loaded.rules.rules, loaded.rules.hubs.hubs) == ((), ())


def test_an_error_in_the_rules_keeps_warnings_about_hubs_back() -> None:
    loaded = parse(ONE + "rules: [{name: a, match: {location: 'shelf-2/*'}, ignr: true}]", "x")
    assert said(loaded) == ["x:2: unknown key 'ignr'"]


def test_a_hub_that_a_template_names_is_asked_for() -> None:
    text = "rules: [{name: a, match: {interface: 'ff:42:01'}, attach: {to: 'p-{location}'}}]"
    assert parse(ONE + text, "x").diagnostics == ()
    (warning,) = parse(ONE + text.replace("{location}", "{serial}"), "x").diagnostics
    assert warning.message == "no rule asks for a port of hub 'shelf-1'"


def test_a_device_at_a_named_port_does_not_choose_its_instance() -> None:
    text = "rules: [{name: a, match: {location: 'shelf-1/*'}, attach: {to: '{serial}'}}]"
    assert parse(ONE + text, "x").diagnostics == ()
    (warning,) = parse(ONE + text.replace("shelf-1/*", "*"), "x").diagnostics
    assert "lets the device choose its instance by '{serial}'" in warning.message


class TestUsb3:
    """A USB 3 hub is in port 3 by USB 2, and in port 1 by USB 3."""

    HUBS: Final = {"1-3": ("2", "2-1"), "2-1": ("3", "1-3")}

    def warnings(self, path: str, hubs: dict[str, tuple[str, str]]) -> list[tuple[str, str]]:
        text = ONE.replace("pci-0000:00:14.0-usb-0:3", path) + RULE
        loaded = parse(text, "x", halves=usb3_halves(hubs, CONTROLLERS))
        return [(each.message, each.hint) for each in loaded.diagnostics]

    def test_its_path_by_usb_3_is_warned_of(self) -> None:
        assert self.warnings("pci-0000:00:14.0-usb-0:1", self.HUBS) == [
            (
                "'pci-0000:00:14.0-usb-0:1' is the place of a USB 3 hub by the numbers of USB 3",
                "by those of USB 2, which count here, it is 'pci-0000:00:14.0-usb-0:3'",
            )
        ]
        assert self.warnings("pci-0000:00:14.0-usb-0:3", self.HUBS) == []
        assert self.warnings("pci-0000:00:14.0-usbv3-0:1", self.HUBS) == []

    def test_not_where_a_hub_is_in_that_port_by_usb_2(self) -> None:
        assert self.warnings("pci-0000:00:14.0-usb-0:1", {**self.HUBS, "1-1": ("2", "2-3")}) == []

    def test_not_where_the_kernel_does_not_know_the_other_half(self) -> None:
        assert self.warnings("pci-0000:00:14.0-usb-0:1", {"2-1": ("3", "")}) == []


def test_the_schema_knows_hubs() -> None:
    schema = json.loads(as_text())
    assert schema["anyOf"] == [{"required": [name]} for name in ("rules", "hubs", "pools")]
    hub = schema["definitions"]["hub"]
    assert hub["required"] == ["ports"]
    assert hub["oneOf"] == [{"required": ["path"]}, {"required": ["serial"]}]
    assert schema["properties"]["hubs"]["additionalProperties"] == {"$ref": "#/definitions/hub"}
    assert hub["properties"]["ports"]["additionalProperties"]["pattern"].startswith("^[1-9]")


def test_too_many_ports_are_an_error() -> None:
    ports = ", ".join(f"p{n}: {1 + n // 240}.{1 + n % 240}" for n in range(5001))
    text = f"hubs:\n  a: {{path: pci-0, ports: {{{ports}}}}}\n  b: {{path: pci-1, ports: {{{ports}}}}}\n"
    assert said(parse(text, "x")) == ["x:3: more than 10000 ports of hubs, up to this one"]


def test_many_patterns_for_many_ports_cost_bounded_time() -> None:
    ports = ", ".join(f"p{n}: {1 + n // 240}.{1 + n % 240}" for n in range(9000))
    patterns = ", ".join(f"'*/q{n}*'" for n in range(9000))
    text = f"hubs:\n  a: {{path: pci-0, ports: {{{ports}}}}}\n"
    text += f"rules: [{{name: a, match: {{location: [{patterns}]}}, ignore: true}}]"
    start = time.process_time()
    assert not parse(text, "x").errors
    assert time.process_time() - start < 10
