"""Threads, tasks and paces: how the daemon waits without blocking its event loop."""
