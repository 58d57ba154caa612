"""LXD and Incus: the only package that knows pylxd, and what differs between servers."""
