"""The ledger in the App's sidebar."""

from __future__ import annotations

import fiftyone as fo

from .ledger import Ledger, declared, field_of

#: MongoDB allows 64 in a collection; some are FiftyOne's, and the user's own must find room
_MOST_INDEXES = 44


def show(dataset: fo.Dataset, ledger: Ledger, labels: list[str]) -> None:
    """Put the presence sliders of ``labels``, unfolded, under the labels in the sidebar; saved with the dataset.

    What the schema does not know has no slider.

    FiftyOne would show them as one folded group below everything else. A page that is open already keeps its
    sidebar as it is, and gets the group folded; the next one opens with this.
    """
    name = ledger.path("presence")
    groups = dataset.app_config.sidebar_groups or fo.DatasetAppConfig.default_sidebar_groups(dataset)
    held = [p for group in groups for p in group.paths if p.startswith(f"{name}.")]
    known = set(declared(dataset, ledger))
    paths = list(dict.fromkeys([*held, *(f"{name}.{field_of(label)}" for label in labels if label in known)]))
    if not paths:
        return
    for group in groups:
        group.paths = [p for p in group.paths if p not in paths]
    groups = [g for g in groups if g.name != name]
    place = next((k for k, g in enumerate(groups) if g.name == "labels"), -1) + 1
    groups.insert(place, fo.SidebarGroupDocument(name=name, paths=paths, expanded=True))
    dataset.app_config.sidebar_groups = groups
    dataset.save()
    _index(dataset, paths)


def _index(dataset: fo.Dataset, paths: list[str]) -> None:
    """Where a number is not indexed, the App offers two boxes to type into instead of a slider."""
    known = set(dataset.list_indexes())
    for path in paths:
        if path not in known and len(known) < _MOST_INDEXES:
            known.add(dataset.create_index(path))
