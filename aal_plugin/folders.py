"""Where configs/ and tools/ are: inside the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def configs_folder() -> Path:
    """The folder of the configs."""
    return _folder("configs")


def tools_folder() -> Path:
    """The folder of the tools."""
    return _folder("tools")


def _folder(name: str) -> Path:
    places = (PACKAGE / name, PACKAGE.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"aal_plugin's folder {name}/ is missing; searched {' and '.join(map(str, places))}. "
        "Install the package again"
    )
