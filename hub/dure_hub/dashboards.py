"""Where the dashboards are: their address, their notebooks, and the page that Voila puts around them."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

PREFIX = "/services/dashboards"
RENDER = f"{PREFIX}/voila/render/"
"""A visit under this path starts a kernel that acts for the visitor."""

SHOWN = {"fleet": "fleet.ipynb", "servers": "environments.ipynb"}
"""The dashboards that the portal's bar leads to, by the names that it calls them."""

TEMPLATE = "dure"
EXTENSIONS = ("@voila-dashboards/widgets-manager8", "@jupyter-widgets/jupyterlab-manager", "anywidget")
"""Front-end extensions that widgets need; without the first of them a widget shows as its text."""


def address(dashboard: str) -> str:
    """The path of one dashboard, below the portal's `base_url`."""
    return f"{RENDER}{SHOWN[dashboard]}"


def data_path() -> Path:
    """The folder for JUPYTER_PATH that holds our Voila template. Imports nothing of the widgets."""
    found = find_spec("dure_widgets")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("this installation lacks dure_widgets")
    return Path(found.submodule_search_locations[0]) / "share" / "jupyter"


def notebooks() -> Path:
    """The dashboards' folder: inside the wheel, or beside the source."""
    package = Path(str(files("dure_hub")))
    inside = package / "notebooks" / "dashboards"
    return inside if inside.is_dir() else package.parents[1] / "notebooks" / "dashboards"
