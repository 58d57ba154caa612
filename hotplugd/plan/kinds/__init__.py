"""The kinds of device: one file each, behind the protocol in `kind`. Pure."""
