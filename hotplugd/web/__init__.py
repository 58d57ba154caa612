"""What `hotplugd serve` shows to others: an unprivileged client of the daemon's control socket."""
