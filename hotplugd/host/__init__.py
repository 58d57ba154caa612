"""The kernel, udev, sysfs and /dev of the host: the only package that knows pyudev."""
