"""What the daemon answers to questions about events."""

from __future__ import annotations

import asyncio

import pytest

from hotplugd.app import status_answers
from hotplugd.app.control_request import ControlRequest
from hotplugd.app.event_buffer import EventBuffer
from hotplugd.app.grants import ROOT
from hotplugd.app.peer import Peer


@pytest.mark.parametrize("wait", ["", "x", "nan", "-nan", "1_0x"])
def test_what_is_no_number_of_seconds_is_an_error(wait: str) -> None:
    asked = ControlRequest(Peer(1, 0), ROOT, {"wait": wait, "after": "end"}, "")
    with pytest.raises(ValueError, match="expected a number of seconds as `wait`"):
        asyncio.run(status_answers.events(EventBuffer("1a2b3c4d"), asked))


@pytest.mark.parametrize("wait", ["0", "-1", "-inf", "-1e999"])
def test_who_does_not_wait_is_answered_at_once(wait: str) -> None:
    asked = ControlRequest(Peer(1, 0), ROOT, {"wait": wait, "after": "end"}, "")
    assert '"events": []' in asyncio.run(status_answers.events(EventBuffer("1a2b3c4d"), asked))
