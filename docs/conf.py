"""Sphinx: the documentation as HTML, by `make docs`, and as the pages of the manual, for the package."""

from __future__ import annotations

import sys
from pathlib import Path

from hotplugd import __version__

sys.path.insert(0, str(Path(__file__).parent))
from manual import pages  # beside this file

project = "hotplugd"
author = "the hotplugd authors"
version = release = __version__
extensions = ["myst_parser", "manual"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "alabaster"
html_theme_options = {
    "description": "Devices into running LXD and Incus instances, by rules",
    "page_width": "70rem",
}
html_show_sphinx = False
man_pages = pages()
exclude_patterns = ["_build"]
nitpicky = True
