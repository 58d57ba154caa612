"""Which texts whoever looks at the page may see: no part of a serial number, however a text was cut."""

from __future__ import annotations

from hotplugd.model.text import quoted
from hotplugd.web.masking import Masking

LONG = "R5CT" * 25


def test_a_serial_number_that_a_message_cuts_is_masked() -> None:
    shown = Masking()
    shown.learn({"serial": LONG})
    assert shown(f"no device '{quoted(LONG)}'") == "no device '<serial-1>'"


def test_a_serial_number_that_a_long_text_ends_in_is_not_shown_in_part() -> None:
    shown = Masking()
    serials = [f"SER{number:03}{'QZ' * 58}" for number in range(10)]
    shown.learn([{"serial": each} for each in serials])
    text = shown(" ".join(serials))
    assert ("SER" in text, "QZ" in text, text[-1]) == (False, False, "…")
    # What has none is shown as far as there is room.
    assert len(shown("W" * 5000)) == 200


def test_what_is_there_now_is_masked_also_where_there_were_too_many_masks() -> None:
    shown = Masking()
    for turn in range(3):
        status = {"attachments": [{"serial": f"AAQQ{turn}{number:06}"} for number in range(2100)]}
        topology = {"devices": [{"serial": f"BBQQ{turn}{number:06}"} for number in range(2100)]}
        shown.learn_anew(status, topology, {"pools": []})
        assert shown(f"AAQQ{turn}000001 BBQQ{turn}000001").count("<serial-") == 2
        # A question about one tile forgets nothing.
        shown.learn({"device": "/dev/x"})
        assert shown(f"AAQQ{turn}000002 BBQQ{turn}000002").count("<serial-") == 2
