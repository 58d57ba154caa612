"""Ten thousand plugs at full speed, with crashes and people in between: see `__main__`."""
