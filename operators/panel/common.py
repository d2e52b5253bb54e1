"""What the tabs of the panel share: where they are, and how they show tables, words and views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fiftyone as fo
from fiftyone.operators import types

PLUGIN = "@concepts/sam3"
#: rows of a table; who wants more takes the view
ROWS = 8
#: of forms that are opened from here: the view in the grid is one that the panel set, and no choice of the person's
WHOLE = {"view_target": "DATASET"}


def uri(name: str) -> str:
    """An operator of this plugin."""
    return f"{PLUGIN}/{name}"


def state(ctx: Any, name: str, default: Any = None) -> Any:
    """A value of the panel's state; empty counts as none."""
    value = ctx.panel.get_state(name)
    return default if value in (None, "") else value


def ledger(ctx: Any) -> str | None:
    """The ledger that is looked at: the first there is, unless one was chosen."""
    from ...curation.answers import ledgers_of

    known = ledgers_of(ctx.dataset)
    chosen = state(ctx, "ledger")
    return chosen if chosen in known else next(iter(known), None)


def label_field(ctx: Any) -> str | None:
    """The field with the instances of the ledger."""
    from ...zoo.ledger import Ledger
    from ...zoo.provenance import instances_fields

    name = ledger(ctx)
    if name is None:
        return None
    video = ctx.dataset.media_type == fo.core.media.VIDEO
    fields = instances_fields(ctx.dataset, Ledger(name, frames=video))
    return (f"frames.{fields[0]}" if video else fields[0]) if fields else None


def words(panel: types.Object, name: str, text: str) -> None:
    """A line of text. Its name has the text in it: the App keeps what a property was first drawn with."""
    panel.md(text, name=f"{name}_{abs(hash(text)) % 10**8}")


def table(
    panel: types.Object, name: str, columns: Mapping[str, str], actions: Sequence[tuple[str, str, str, Callable]] = ()
) -> None:
    """A table whose rows are in the panel's data under ``name``.

    Args:
        panel: where.
        name: of the data.
        columns: key → heading.
        actions: (name, tooltip, icon, handler) of a row's buttons.
    """
    # tables would be 650 pixels wide, which is more than the panel is beside the grid
    slim = {"table": {"sx": {"minWidth": 0}}, "tableHeadCell": {"sx": {"padding": "4px 8px", "fontSize": "0.85rem"}},
            "tableBodyCell": {"sx": {"padding": "4px 8px", "fontSize": "0.85rem"}}}
    clicked = {"on_click_row": actions[0][3]} if actions else {}
    view = types.TableView(componentsProps=slim, max_inline_actions=len(actions), actions_label=" ", **clicked)
    for key, label in columns.items():
        view.add_column(key, label=label)
    for action, label, icon, handler in actions:
        view.add_row_action(action, on_click=handler, icon=icon, tooltip=label)
    panel.list(name, types.Object(), view=view)


def fill(ctx: Any, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows of a table. Into the state, too, where the App copies them: it would join fewer rows with old ones."""
    ctx.panel.set_state(name, list(rows))
    ctx.panel.set_data(name, list(rows))


def main_button(panel: types.Object, name: str, label: str, handler: Callable, icon: str = "search") -> None:
    """What the tab is for, to be pressed when it is empty, or again."""
    panel.btn(name, label=label, on_click=handler, variant="contained", icon=icon)


def row_of(ctx: Any) -> int:
    """Which row's button was pressed."""
    return int(ctx.params.get("row", 0))


def show(ctx: Any, view: fo.DatasetView, *fields: str | None) -> None:
    """Show a view in the grid, with these fields drawn."""
    ctx.ops.set_view(view)
    wanted = [field for field in fields if field]
    shown = list(ctx.active_fields or [])
    if any(field not in shown for field in wanted):
        ctx.ops.set_active_fields([*shown, *(field for field in wanted if field not in shown)])


def told(attempt: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A handler whose refusals the person reads, in a notice."""
    import functools

    @functools.wraps(attempt)
    def handler(self: Any, ctx: Any) -> Any:
        from ...curation.errors import CurationError

        try:
            return attempt(self, ctx)
        except CurationError as error:
            ctx.ops.notify(str(error), variant="error")

    return handler
