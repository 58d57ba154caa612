"""Real parts to test with: a private LXD, udevd, devices of the kernel's own, made-up phones, the daemon.

Nothing here is a stand-in for what is tested. Everything is a context manager that leaves the machine as it
found it, and takes care not to touch an LXD, a udevd or a console that somebody else uses.
"""
