"""The values that every package speaks of, and the protocols between packages. Imports nothing of ours."""
