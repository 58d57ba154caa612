"""When attached devices are looked at, and what follows from what is found."""

from __future__ import annotations

from hotplugd.model.ports import Ran
from hotplugd.pools.readiness import ONCE_READY, Answer, Watch, of_adb, of_command
from hotplugd.rules.pool_health import Ready
from tests.unit.pools.test_adb import answer

READY = Ready(("/bin/true",), within=60, every=10)
NOT = Answer(ready=False, reason="it boots")


def test_one_that_is_ready_is_good_and_looked_at_less_often() -> None:
    watch = Watch(READY, 0).answered(Answer(ready=True), 5)
    assert (watch.state, watch.due) == ("good", 5 + ONCE_READY)
    rare = Watch(Ready(every=300), 0).answered(Answer(ready=True), 5)
    assert rare.due == 305


def test_an_unready_device_is_bad_in_time_and_good_once_ready() -> None:
    watch, states = Watch(READY, 0), []
    for now in (0, 10, 20, 30, 40, 50, 60, 70):
        watch = watch.answered(NOT, now)
        states.append(watch.state)
    assert states == ["unknown"] * 6 + ["bad"] * 2
    assert watch.unready == 0
    assert watch.answered(Answer(ready=True), 80).state == "good"


def test_it_is_looked_at_right_after_its_time_is_over() -> None:
    watch = Watch(Ready(within=15, every=10), 0).answered(NOT, 0).answered(NOT, 10)
    assert watch.due == 15
    assert watch.answered(NOT, 15).state == "bad"


def test_one_that_was_ready_has_its_time_again() -> None:
    watch = Watch(READY, 0).answered(NOT, 0).answered(Answer(ready=True), 50).answered(NOT, 110)
    assert (watch.state, watch.unready) == ("unknown", 110)
    assert watch.answered(NOT, 170).state == "bad"


def test_where_nobody_can_tell_it_is_not_its_fault() -> None:
    watch = Watch(READY, 0).answered(NOT, 0).answered(Answer(None, "no adb server"), 50)
    assert (watch.state, watch.unready) == ("unknown", None)
    assert watch.answered(NOT, 70).state == "unknown"


def test_one_that_is_bad_stays_so_where_nobody_can_tell() -> None:
    watch = Watch(READY, 0).answered(NOT, 0).answered(NOT, 60).answered(Answer(None, "no adb server"), 70)
    assert (watch.state, watch.due, watch.answer) == ("bad", 80, NOT)
    assert watch.answered(NOT, 80).state == "bad"
    assert watch.answered(Answer(ready=True), 80).state == "good"


def test_a_command_that_hangs_is_asked_for_less_and_less_often() -> None:
    hung = Answer(ready=False, reason="killed", slow=True)
    watch, now, pauses = Watch(Ready(("x",), within=10_000), 0), 0.0, []
    for _ in range(8):
        watch = watch.answered(hung, now)
        pauses.append(watch.due - now)
        now = watch.due
    assert pauses == [20, 40, 80, 160, 300, 300, 300, 300]
    assert watch.answered(NOT, now).due == now + 10


def test_a_command_says_it_by_its_exit_code() -> None:
    assert of_command(Ran(0, b"fine")) == Answer(ready=True)
    assert of_command(Ran(3, b"")) == Answer(ready=False, reason="the command exited with 3")
    assert of_command(Ran(1, b"\nno boot\nmore")).reason == "the command exited with 1: no boot"
    killed = of_command(Ran(None, b"", "it did not end within 5 s"))
    assert (killed.ready, killed.slow) == (False, True)
    assert killed.reason == "the command was killed: it did not end within 5 s"


def test_what_a_command_writes_is_shown_escaped_and_cut() -> None:
    reason = of_command(Ran(1, b"\x1b[2J\xff\x00" + b"x" * 8000)).reason
    assert reason.isprintable()
    assert len(reason) < 200


def test_an_adb_server_says_it_of_each_phone() -> None:
    ran = Ran(0, answer())
    assert of_adb(ran, "R5C001", "1-1.4") == Answer(ready=True)
    assert of_adb(ran, "R5C002", "1-1.3").reason.startswith("adb says 'unauthorized': ")
    assert of_adb(ran, "R5C009", "1-9").reason.startswith("adb does not list it")


def test_no_adb_server_is_nothing_that_is_wrong() -> None:
    assert of_adb(Ran(1, b"Connection refused"), "A", "") == Answer(
        None, "no adb server runs inside", wrong=False
    )
    hangs = of_adb(Ran(None, b"", "it did not end"), "A", "")
    assert (hangs.ready, hangs.wrong, hangs.slow) == (None, True, True)
