"""When to plan, apply and verify. No I/O of its own: every effect goes through a port of `model`."""
