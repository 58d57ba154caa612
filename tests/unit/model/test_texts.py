"""What devices say, as it is kept: equal to the dict that it was made of in everything but its size."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from sys import getsizeof, intern

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplugd.model import values
from hotplugd.model.values import Texts

WORDS = {"ID_VENDOR_ID": "18d1", "ID_SERIAL_SHORT": "1A0021", "EMPTY": "", "\udce4": "\udcf6"}


@given(st.dictionaries(st.text(), st.text()))
def test_texts_are_the_dict_that_they_were_made_of(words: dict[str, str]) -> None:
    texts = Texts(words)
    assert dict(texts) == words
    assert list(texts.items()) == list(words.items())
    assert texts == words
    assert words == texts
    assert texts == Texts(dict(reversed(words.items())))
    assert len(texts) == len(words)
    assert all(name in texts and texts[name] == texts.get(name) == text for name, text in words.items())


def test_what_is_not_there_is_not_there() -> None:
    texts = Texts(WORDS)
    assert "ID_MODEL_ID" not in texts
    assert texts.get("ID_MODEL_ID", "none") == "none"
    with pytest.raises(KeyError):
        texts["ID_MODEL_ID"]


@pytest.mark.parametrize("other", [{**WORDS, "EMPTY": "x"}, {**WORDS, "MORE": ""}, {"EMPTY": ""}, {}])
def test_texts_that_differ_are_not_equal(other: dict[str, str]) -> None:
    assert Texts(WORDS) != Texts(other)
    assert Texts(WORDS) != other


def test_what_many_have_alike_is_kept_once() -> None:
    one, two = (Texts({name.lower(): str(text + number) for name, text in WORDS.items()}) for number in "11")
    assert all(one[name] is two[name] is intern(one[name]) for name in one)
    assert [id(each) for each in one] == [id(each) for each in two]
    many = {f"NAME{number}": "x" for number in range(35)}
    assert getsizeof(Texts(many)) + getsizeof(tuple(many)) < getsizeof(many) / 2


def test_devices_that_invent_names_fill_no_memory() -> None:
    for number in range(5000):
        assert Texts({f"NAME{number}": "x"}) == {f"NAME{number}": "x"}
    assert len(Texts._KNOWN) <= values._MOST_KINDS


def test_texts_that_went_leave_nothing() -> None:
    words = {f"NAME_{number}": "text" for number in range(17)}
    Texts(words)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(500):
            Texts(words)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10 * getsizeof(tuple(words))


def test_texts_that_nobody_has_any_more_are_not_kept() -> None:
    # Nothing else is in that process. What somebody edits all the time is read all the time.
    program = """
import sys
from hotplugd.model.entry import read
from hotplugd.model.values import Texts
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
for number in range(60_000):
    if number == 10_000:
        before = memory()
    read("x", {"type": "none", f"user.{number}": "x" * 200 + str(number)})
    Texts({f"ID_{number}": "x" * 200 + str(number)})
sys.exit(memory() - before > 4 << 20)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
