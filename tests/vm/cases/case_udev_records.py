"""libinput in a container without a udevd: which devices it takes, at its start and later."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.wait import eventually
from tests.vm.cases.case_devices import has, soon, told
from tests.vm.machine import DEADLINE, Keyboard, Machine

Launch = Callable[..., Container]

# Prints the devices that libinput's udev backend has on a seat, and then those that come and go (libinput.h).
_LIBINPUT = """
import ctypes, os, select, sys
udev, libinput = ctypes.CDLL("libudev.so.1"), ctypes.CDLL("libinput.so.10")
pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
opens, closes = ctypes.CFUNCTYPE(number, text, number, pointer), ctypes.CFUNCTYPE(None, number, pointer)
def opened(path, flags, _):
    try:
        return os.open(path, flags)
    except OSError as error:
        return -error.errno
class Interface(ctypes.Structure):
    _fields_ = [("open", opens), ("close", closes)]
interface = Interface(opens(opened), closes(lambda each, _: os.close(each)))
for function in ("libinput_udev_create_context", "libinput_get_event", "libinput_event_get_device"):
    getattr(libinput, function).restype = pointer
udev.udev_new.restype = pointer
libinput.libinput_device_get_sysname.restype = text
seats = pointer(udev.udev_new())
context = pointer(libinput.libinput_udev_create_context(ctypes.byref(interface), None, seats))
assert libinput.libinput_udev_assign_seat(context, b"seat0") == 0
ready = select.poll()
ready.register(libinput.libinput_get_fd(context), select.POLLIN)
while True:
    libinput.libinput_dispatch(context)
    while event := libinput.libinput_get_event(context):
        kind = libinput.libinput_event_get_type(pointer(event))
        device = pointer(libinput.libinput_event_get_device(pointer(event)))
        if kind in (1, 2):
            name = libinput.libinput_device_get_sysname(device).decode()
            print(("added", "removed")[kind - 1], name, libinput.libinput_device_has_capability(device, 0))
        libinput.libinput_event_destroy(pointer(event))
    sys.stdout.flush()
    if not ready.poll(float(sys.argv[1]) * 1000):
        break
"""


def rules(container: Container, more: str) -> str:
    match = '{subsystem: input, kernel: "event*", property: {ID_INPUT_KEYBOARD: "1", ID_BUS: usb}}'
    return f"rules:\n  - name: keys\n    match: {match}\n    attach: {{to: {container}{more}}}\n"


def libinput(container: Container, seconds: int = 1) -> list[str]:
    """What libinput says until nothing happens for so many seconds."""
    done = container.run("/usr/bin/python3", "-c", _LIBINPUT, str(seconds))
    assert done.code == 0, done.output
    return [line for line in done.output.splitlines() if line.startswith(("added", "removed"))]


def test_libinput_takes_a_keyboard_by_its_record_alone_and_none_of_the_hosts(
    machine: Machine, launch: Launch, daemon: StartDaemon
) -> None:
    container = launch("c1")
    running = daemon(rules(container, ""))
    keys = Keyboard(machine, 5)
    keys.plug()
    soon(lambda: has(container, keys.event, keys.event))
    assert libinput(container) == []
    running.write_rules(rules(container, ", udev: true, link: [by-id, by-path]"))
    running.reload()
    name = keys.event.rpartition("/")[2]
    soon(lambda: libinput(container) == [f"added {name} 1"])
    found = container.run("sh", "-c", "ls /run/udev/data; readlink /dev/input/by-*/*").output.split()
    assert len([each for each in found if each.startswith(("c13:", "+input:input"))]) == 2
    assert found[2:] == [keys.event] * (len(found) - 2)
    assert len(found) > 2
    keys.unplug()
    soon(lambda: container.run("ls", "/run/udev/data").output == "")
    assert libinput(container) == []
    assert told(running) == "[]"


def test_libinput_hears_of_one_that_is_plugged_in_and_pulled(
    machine: Machine, launch: Launch, daemon: StartDaemon
) -> None:
    container = launch("c1")
    daemon(rules(container, ", udev: true"))
    keys = Keyboard(machine, 5)
    keys.plug()
    soon(lambda: libinput(container))
    keys.unplug()
    soon(lambda: not libinput(container))
    line = f'/usr/bin/python3 -c "$1" {int(DEADLINE)} > /tmp/said 2>&1 &'
    container.run("sh", "-c", line, "sh", _LIBINPUT)

    def said() -> list[str]:
        return container.run("cat", "/tmp/said").output.splitlines()

    eventually(lambda: container.run("pidof", "python3").code == 0, DEADLINE, pause=0.05)
    keys.plug()
    soon(lambda: len(said()) == 1 and said()[0].startswith("added event"))
    keys.unplug()
    soon(lambda: len(said()) == 2 and said()[1].startswith("removed event"))
