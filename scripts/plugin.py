"""This clone as a plugin of the FiftyOne that runs, for the demo and the benchmarks."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def use_own_plugin() -> None:
    """Let FiftyOne find this plugin, unless it is installed already. Must run before FiftyOne is imported."""
    # the mongod that set-up falls back to is the oldest that FiftyOne supports; that is no news for these datasets
    os.environ.setdefault("FIFTYONE_DATABASE_VALIDATION", "false")
    if "FIFTYONE_PLUGINS_DIR" in os.environ:
        return
    installed = Path("~/fiftyone/__plugins__/@concepts/sam3").expanduser()
    if installed.exists():
        return
    home = ROOT / "build" / "plugins"
    link = home / "@concepts" / "sam3"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(ROOT, target_is_directory=True)
    os.environ["FIFTYONE_PLUGINS_DIR"] = str(home)
