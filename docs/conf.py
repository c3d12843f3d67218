"""How Sphinx builds these pages. Nothing is fetched from the network."""

project = "Dure"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "Dure"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]
