"""Rules, devices and instances into the entries that should exist, and the changes to get there. Pure."""
