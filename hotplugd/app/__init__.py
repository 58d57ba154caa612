"""Wiring: the daemon, its settings, its session with one server, the control socket, the JSON documents."""
