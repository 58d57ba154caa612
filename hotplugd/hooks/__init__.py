"""What `hotplugd hooks` does: commands on events, by an unprivileged client of the control socket."""
