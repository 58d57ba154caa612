"""Sphinx: the documentation as HTML, by `make docs`."""

from __future__ import annotations

from hotplugd import __version__

project = "hotplugd"
author = "the hotplugd authors"
version = release = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "alabaster"
html_theme_options = {
    "description": "Devices into running LXD and Incus instances, by rules",
    "page_width": "70rem",
}
html_show_sphinx = False
exclude_patterns = ["_build"]
nitpicky = True
