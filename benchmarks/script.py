"""The script that people write in an afternoon: what hotplugd has to be better than.

    python benchmarks/script.py SOCKET WHICH=INSTANCE …

WHICH is a device's serial number, or the kernel's name of one that has none.
"""

import sys

import pyudev
from pylxd import Client

client = Client(endpoint=sys.argv[1])
places = dict(word.split("=") for word in sys.argv[2:])
monitor = pyudev.Monitor.from_netlink(pyudev.Context())
monitor.start()
print("ready", flush=True)
while True:
    device = monitor.poll()
    name = device.properties.get("ID_SERIAL_SHORT") or device.sys_name
    if name not in places or device.action not in ("add", "remove"):
        continue
    instance = client.instances.get(places[name])
    if device.action == "add":
        instance.devices[name] = {"type": "unix-char", "source": device.device_node, "required": "false"}
    else:
        instance.devices.pop(name, None)
    instance.save(wait=True)
