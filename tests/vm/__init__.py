"""A virtual machine with a stock kernel, a real USB core and real servers, and the cases that run in it.

    python -m tests.vm [GROUP...]

image.py    builds what is booted, and keeps it
guest.py    boots it once, and brings back what came of it
hands.py    plug hardware in and pull it while it runs, by qmp.py, as protocol.py says
machine.py  the other end: that hardware, for the cases
start       the guest's first process, where that is not systemd
cases/      what runs in there, with pytest: files are named case_*.py, so that the host's pytest leaves them
"""
