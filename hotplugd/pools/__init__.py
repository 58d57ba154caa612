"""Who of several instances has which device of a pool: claims, leases, health. Pure."""
