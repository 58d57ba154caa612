"""The words of orders, as hostile clients send them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from hotplugd.app.device_request import DeviceRequest
from hotplugd.app.usb_orders import _parsed

PARSERS = (DeviceRequest.of, _parsed)
_NESTED = [each * depth for each in ("[", '{"a":') for depth in (990, 1000, 30_000)]


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("text", ["", "null", "[]", "1" * 5000, '{"device": ' + "9" * 5000 + "}", *_NESTED])
def test_what_is_no_object_is_an_error(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|Expecting|Exceeds"):
        parse(text)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("key", ["device", "real"])
def test_a_word_is_bounded(parse: Callable[[str], object], key: str) -> None:
    parse(json.dumps({"device": "x", key: "x" * 4096}))
    with pytest.raises(ValueError, match="words of at most 4096 characters"):
        parse(json.dumps({"device": "x", key: "x" * 4097}))


@pytest.mark.parametrize("value", ["1e400", "NaN", "-1e400", '"\\ud800"', "[[]]", "true", '{"a": 1}'])
def test_a_value_of_another_type_is_its_text(value: str) -> None:
    assert DeviceRequest.of(f'{{"device": {value}, "yes": {value}, "all": 1}}').everything is False
    assert _parsed(f'{{"device": {value}, "yes": 1}}').yes is False


@pytest.mark.parametrize("key", ["project", "instance"])
def test_a_name_that_cannot_be_shown_is_an_error(key: str) -> None:
    with pytest.raises(ValueError, match=rf"expected the name of a server's {key}, and found 'a\\x1b'"):
        DeviceRequest.of(json.dumps({"device": "x", key: "a\x1b"}))
