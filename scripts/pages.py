"""What the pages in docs/ say that their examples print: read, run, and, ``python -m scripts.pages``, renewed.

To renew is to believe the code: read what changed before it is committed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
#: pages whose examples run, each on a fresh copy of the demo's dataset
PAGES = (
    "curation", "hard-negatives", "label-errors", "confusions", "thresholds", "prompting", "wordings", "review",
    "subset", "export", "training-set",
)  # fmt: skip

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


@dataclass
class Example:
    """Python of a page, what it prints, and where in the text that stands."""

    code: str
    line: int
    output: str = ""
    place: tuple[int, int] | None = None


def read_page(page: str) -> tuple[list[Example], list[str]]:
    """The examples of a page, and the blocks that are no example's output: what ``make demo`` prints."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    examples, others, end = [], [], 0
    for block in _BLOCK.finditer(text):
        between, end = text[end : block.start()], block.end()
        if block[1] == "python":
            examples.append(Example(block[2], text[: block.start()].count("\n") + 2))
        elif between.strip() == "prints" and examples:
            examples[-1].output, examples[-1].place = block[2], block.span(2)
        elif not block[1]:
            others.append(block[2])
    return examples, others


def run_example(example: Example, page: str, names: dict) -> str:
    """What it prints. Its lines are those of the page, in tracebacks."""
    code = compile("\n" * (example.line - 1) + example.code, str(DOCS / f"{page}.md"), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, names)
    return out.getvalue()


def renew_page(page: str) -> None:
    """Write what a page's examples print now into the page."""
    path = DOCS / f"{page}.md"
    text = path.read_text(encoding="utf-8")
    names: dict = {"__name__": "__main__"}
    examples, _ = read_page(page)
    printed = [(example, run_example(example, page, names)) for example in examples]
    for example, output in reversed(printed):
        if example.place is not None:
            text = text[: example.place[0]] + output + text[example.place[1] :]
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Make the demo's dataset, and renew all pages."""
    from scripts.plugin import use_own_plugin

    use_own_plugin()
    import fiftyone as fo
    import fiftyone.zoo as foz
    import torch

    from emoji_world import demo
    from emoji_world.dataset import CONCEPTS, build_dataset
    from zoo.source import load_model

    fo.config.show_progress_bars = False
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))  # as the demo does
    foz.load_zoo_model = load_model  # what it calls, once the source is registered
    with tempfile.TemporaryDirectory() as folder:
        made = build_dataset("sam3-demo-made", Path(folder) / "media", persistent=False)
        sam3 = load_model("concepts/sam3-tiny-image", classes=list(CONCEPTS))
        made.apply_model(sam3, label_field=demo.LABEL_FIELD, batch_size=8, progress=False)
        print(demo.curate(made))
        os.chdir(folder)
        for page in PAGES:
            if fo.dataset_exists(demo.DATASET):
                fo.delete_dataset(demo.DATASET)
            copy = made.clone(demo.DATASET)
            renew_page(page)
            copy.delete()
            print(f"{page}.md: renewed", flush=True)


if __name__ == "__main__":
    main()
