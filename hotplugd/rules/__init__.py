"""Rules against devices, condition by condition. Pure."""
