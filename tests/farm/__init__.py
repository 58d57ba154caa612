"""A farm's day: devices, instances and people at random, and a model that says which device is where.

model.py   what must be true; shares nothing with hotplugd, and is read first
events.py  what happens, kind by kind
world.py   what it happens to
day.py     which events come when, by a die
consoles.py  the world whose phones are the kernel's consoles, on this machine

The world with phones on a real bus, and adb in the containers, is tests/vm/farm.py.
"""
