"""hotplugd: physical devices into running LXD and Incus containers, by rules."""

__version__ = "0.1.0"
