"""What is escaped in everything that is logged or shown."""

from __future__ import annotations

import sys
import unicodedata

from hotplugd.model.text import natural, plain, printable

_UNSHOWN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_nothing_passes_that_is_not_seen_ends_a_line_or_turns_the_direction() -> None:
    passed = [
        code
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in _UNSHOWN and plain(chr(code)) == chr(code)
    ]
    assert list(map(hex, passed)) == []


def test_letters_of_all_scripts_and_marks_on_them_pass() -> None:
    text = "R5C é e\u0301 \u6f22\u5b57 \u0440\u0443\u0441 \u05e2\u05d1 \U0001f600 ~"
    assert plain(text) == printable(text) == text


def test_two_different_strings_stay_different() -> None:
    assert printable("\\x1b") != printable("\x1b")
    assert printable("\\u202e") != printable("\u202e")


def test_numbers_in_texts_are_sorted_as_people_count() -> None:
    ports = ["1-1.10", "1-1.2", "1-10", "1-2", "1-1", "usb1", "", "1-1.2.1", "\u0663"]
    expected = ["", "1-1", "1-1.2", "1-1.2.1", "1-1.10", "1-2", "1-10", "usb1", "\u0663"]
    assert sorted(ports, key=natural) == expected
    assert natural("9" * 5000) != natural("9" * 5001)
