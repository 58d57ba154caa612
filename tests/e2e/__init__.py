"""The daemon as a whole, on a real server with real devices."""
