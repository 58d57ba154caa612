"""The floor: a bare pyudev listener that knows beforehand what it will send.

    python benchmarks/floor.py SOCKET [--links=FOLDER] WHICH=INSTANCE …

At an `add` it sends one ready-made PATCH over a connection that is open; at a `remove` it does what no PATCH
can: GET, PUT without the entry, and the wait for the server. WHICH is the kernel's name of a device, or the
serial number of one whose name is not known beforehand.

LXD watches the path that an entry names, and takes the node out itself once that is gone. With `--links` the
entries name links in FOLDER instead, which stay: then it is the request that takes the node out.
"""

import http.client
import json
import os
import socket
import sys

import pyudev

HEADERS = {"Content-Type": "application/json"}

connection = http.client.HTTPConnection("lxd")
connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
connection.sock.connect(sys.argv[1])


def ask(method: str, url: str, body: bytes = b"", etag: str = "") -> tuple[dict[str, dict[str, object]], str]:
    """One request: the answer, and its ETag."""
    connection.request(method, url, body, HEADERS | ({"If-Match": etag} if etag else {}))
    response = connection.getresponse()
    if response.status >= 400:
        sys.exit(f"{method} {url}: {response.status} {response.read()!r}")
    return json.loads(response.read()), response.headers.get("ETag", "")


ready: dict[str, tuple[str, bytes]] = {}
# Udev tells no serial number of a device that went.
names: dict[str, str] = {}
links = ""
for word in sys.argv[2:]:
    which, instance = word.split("=")
    if which == "--links":
        links = instance
        continue
    source = node = f"/dev/{which}"
    if links:
        source = f"{links}/{which}"
        os.symlink(node, source)
    entry = {"type": "unix-char", "source": source, "path": node, "required": "false"}
    ready[which] = (f"/1.0/instances/{instance}", json.dumps({"devices": {which: entry}}).encode())

# LXD accepts no other connection for as long as a new one has said nothing.
ask("GET", "/1.0")
monitor = pyudev.Monitor.from_netlink(pyudev.Context())
monitor.start()
print("ready", flush=True)
while True:
    device = monitor.poll()
    name = device.sys_name
    if name not in ready:
        serial = device.properties.get("ID_SERIAL_SHORT", "") if device.action == "add" else ""
        if serial in ready and device.device_node is not None:
            url, patch = ready[serial]
            names[device.sys_path] = serial
            ask("PATCH", url, patch.replace(f"/dev/{serial}".encode(), device.device_node.encode()))
            continue
        name = names.get(device.sys_path, "")
    if name not in ready:
        continue
    url, patch = ready[name]
    if device.action == "add":
        ask("PATCH", url, patch)
    elif device.action == "remove":
        found, etag = ask("GET", url)
        devices = found["metadata"]["devices"]
        assert isinstance(devices, dict)
        devices.pop(name, None)
        done, _ = ask("PUT", url, json.dumps(found["metadata"]).encode(), etag)
        ask("GET", f"/1.0/operations/{done['metadata']['id']}/wait")
