"""What hotplugd costs, as ratios to something that runs beside it in the same run."""
