"""The pages on curation and prompting are true: their examples run on the demo's dataset, and print what is said."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator

import fiftyone as fo
import fiftyone.zoo as foz
import pytest
import torch
from support import films
from support.ledgers import A, ask, instance, rectangle

from curation.label_errors import find_label_errors
from emoji_world import demo
from emoji_world.dataset import CONCEPTS, build_dataset
from scripts.pages import DOCS, PAGES, read_page, run_example
from zoo.source import load_model

_DECIMAL = re.compile(r"\d+\.(\d+)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)#:]+)(?:#[^)]*)?\)")


def check_alike(printed: str, said: str) -> None:
    """Equal, but for the last digit of decimals: another processor may round otherwise."""
    assert _DECIMAL.sub("#", printed) == _DECIMAL.sub("#", said), printed
    for now, then in zip(_DECIMAL.finditer(printed), _DECIMAL.finditer(said), strict=True):
        assert float(now[0]) == pytest.approx(float(then[0]), abs=1.01 * 10.0 ** -len(then[1])), printed


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[tuple[fo.Dataset, str]]:
    """What ``make demo`` makes of images, and what it prints of curation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))  # as the demo does
    dataset = build_dataset("sam3-demo-made", tmp_path_factory.mktemp("scenes"))
    sam3 = load_model("concepts/sam3-tiny-image", classes=list(CONCEPTS))
    dataset.apply_model(sam3, label_field=demo.LABEL_FIELD, batch_size=8, progress=False)
    yield dataset, demo.curate(dataset)
    torch.set_num_threads(threads)
    dataset.delete()


@pytest.fixture
def dataset(made) -> Iterator[fo.Dataset]:
    """The demo's dataset under its own name, for one page to change."""
    if fo.dataset_exists(demo.DATASET):
        fo.delete_dataset(demo.DATASET)
    copy = made[0].clone(demo.DATASET)
    yield copy
    copy.delete()


@pytest.mark.parametrize("page", PAGES)
def test_what_the_examples_print_is_what_the_page_says(page, dataset, monkeypatch, tmp_path):
    monkeypatch.setattr(foz, "load_zoo_model", load_model)  # what it calls, once the source is registered
    monkeypatch.chdir(tmp_path)
    examples, _ = read_page(page)
    assert examples
    names: dict = {"__name__": "__main__"}
    for example in examples:
        check_alike(run_example(example, page, names), example.output)


@pytest.mark.parametrize("page", PAGES)
def test_what_the_page_quotes_is_what_make_demo_prints(page, made):
    _, quoted = read_page(page)
    for block in quoted:
        assert block in f"{made[1]}\n"


def test_patches_of_frames_are_made_as_the_page_says(new_dataset, tmp_path):
    film = fo.Sample(films.film(tmp_path / "film.mp4", 3))
    for number, (label, found) in enumerate((("dog", "dog"), ("dog", "cat"), ("cat", "cat")), 1):
        labels, instances = [rectangle(label, A)], [instance(found, A, 0.9)]
        film.frames[number] = fo.Frame(
            ground_truth=fo.Detections(detections=labels), sam3=fo.Detections(detections=instances)
        )
    clips = ask(new_dataset([film]), {"dog": 0.9, "cat": 0.9})
    find_label_errors(clips, "frames.sam3", "frames.ground_truth", exhaustive=True, ledger="sam3", progress=False)
    text = (DOCS / "label-errors.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^  ```python\n(.*?)^  ```\n", text, re.MULTILINE | re.DOTALL)
    names = {"clips": clips}
    exec(textwrap.dedent(code), names)
    assert names["wrong"].values("ground_truth.label_errors_should_be") == ["cat"]
    assert names["wrong"].values("frame_number") == [2]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for target in _LINK.findall(text):
        assert (DOCS / target).exists(), target
