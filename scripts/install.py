"""Links this clone into FiftyOne's folders: the plugin, and the zoo model that it holds.

For a clone only. Whoever has the repository's address needs nothing of this: `fiftyone plugins download <address>`
and `foz.register_zoo_model_source(<address>)` copy it there.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from .system import ROOT, say


def link(place: Path, target: Path) -> bool:
    """Make ``place`` a link to ``target``. False if it is one already; whatever else is there is left alone."""
    if place.is_symlink() and Path(os.path.realpath(place)) == target.resolve():
        return False
    if place.is_symlink() or place.exists():
        sys.exit(f"{place} exists already, and is not this clone. Remove it, then run make install again.")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target, target_is_directory=True)
    return True


def main() -> None:
    """Link both, and say where."""
    import fiftyone as fo

    name = json.loads((ROOT / "zoo" / "manifest.json").read_text())["name"]
    for what, place, target in (
        ("plugin", Path(fo.config.plugins_dir) / f"@{name}", ROOT),
        ("zoo model", Path(fo.config.model_zoo_dir) / name, ROOT / "zoo"),
    ):
        say(f"{what}: {place} {'is now' if link(place, target) else 'was already'} this clone")


if __name__ == "__main__":
    main()
