"""What a command is given of an event that may say anything."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplugd.hooks.command_input import (
    VARIABLE,
    WordError,
    check_program,
    check_word,
    document,
    variables,
    words,
)

_HOSTILE = ("$(reboot)", "`reboot`", "; reboot", "a b", "*", "\\", "'\"", "{serial}", "é", "\U0001f4f1", "")


@pytest.mark.parametrize("serial", _HOSTILE)
def test_a_value_is_a_part_of_one_word_and_nothing_else(serial: str) -> None:
    found = words(["/bin/tell", "{serial}", "--serial={serial}", "{{serial}}"], {"serial": serial})
    assert found == ["/bin/tell", serial, f"--serial={serial}", "{serial}"]


def test_what_an_event_does_not_say_is_empty_and_numbers_are_as_in_json() -> None:
    event = {"uid": 7, "device": None, "before": True}
    assert words(["tell", "{serial}", "{device}", "{uid}", "{before}"], event) == [
        "tell",
        "",
        "",
        "7",
        "true",
    ]


@pytest.mark.parametrize("serial", ["-", "-r", "--config=/etc/shadow"])
def test_a_value_does_not_become_an_option(serial: str) -> None:
    event = {"serial": serial, "model": "x"}
    for run in (["tell", "{serial}"], ["tell", "{device}{serial}", "--"], ["tell", "a", "{serial}"]):
        with pytest.raises(
            WordError, match=r"which programs take for an option, so nothing was run; write `--`"
        ):
            words(run, event)


@pytest.mark.parametrize(
    ("run", "made"),
    [
        (["tell", "--", "{serial}"], ["tell", "--", "-r"]),
        (["tell", "-s{serial}"], ["tell", "-s-r"]),
        (["tell", "-{serial}"], ["tell", "--r"]),
        (["tell", "x{serial}"], ["tell", "x-r"]),
    ],
)
def test_but_by_the_will_of_who_wrote_the_file(run: list[str], made: list[str]) -> None:
    assert words(run, {"serial": "-r"}) == made


def test_what_no_command_can_be_given_is_said() -> None:
    with pytest.raises(WordError, match="would have a NUL in it"):
        words(["tell", "x{serial}"], {"serial": "a\0b"})
    assert words(["tell", "{serial}"], {"serial": "\ud800"}) == ["tell", "\\ud800"]


@pytest.mark.parametrize(
    ("word", "wrong"),
    [
        ("{serail}", "no field '{serail}' of events"), ("{", "a single '{'"), ("}", "a single '}'"),
        ("a\0", "a word with a NUL in it, which no command can be given"),
        ("{serial.x}", "no field '{serial.x}' of events"), ("{serial!r}", "no field '{serial!r}' of events"),
    ],
)  # fmt: skip
def test_a_template_that_is_none_is_found_before_any_event(word: str, wrong: str) -> None:
    found = check_word(word)
    assert found is not None
    assert found.message == wrong


@pytest.mark.parametrize("program", ["", "bin/tell", "./tell", "-x", "/bin/{serial}", "{serial}"])
def test_no_device_says_which_program_it_is(program: str) -> None:
    assert check_program(program) is not None


@pytest.mark.parametrize("program", ["/bin/tell", "adb"])
def test_a_program_is_a_path_or_a_name(program: str) -> None:
    assert check_program(program) is None


def test_fields_are_variables_and_those_of_the_service_manager_are_not_handed_on() -> None:
    event = {"serial": "a\n$x", "after_plug": "5 ms", "Bad-Name": "x", "uid": 7, "reason": "a\0"}
    inherited = {"PATH": "/bin", "NOTIFY_SOCKET": "/run/x", "LISTEN_FDS": "1", f"{VARIABLE}RULE": "old"}
    assert variables(event, inherited) == {
        "PATH": "/bin", "HOTPLUGD_SERIAL": "a\n$x", "HOTPLUGD_AFTER_PLUG": "5 ms", "HOTPLUGD_UID": "7",
    }  # fmt: skip


@given(
    st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(), max_size=8)
)
def test_the_whole_event_is_one_line_of_json(event: dict[str, object]) -> None:
    raw = document(event)
    assert raw.count(b"\n") == 1
    assert json.loads(raw) == event
    for name, value in variables(event, {}).items():
        assert "\0" not in name + value
        assert "=" not in name
        value.encode()
