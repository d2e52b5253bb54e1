"""Concept files: what they say, what is wrong with them and in which line, and that they come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from emoji_world.dataset import build_dataset
from zoo.engine.concepts import Concept
from zoo.engine.errors import ConceptError
from zoo.engine.vocabulary_file import Vocabulary, is_vocabulary, read_vocabulary, write_vocabulary
from zoo.provenance import run_info, vocabulary_of
from zoo.segment import segment
from zoo.source import load_model

SHOP = """\
concepts:
  - label: cap
    phrases: [cap, baseball cap]
    threshold: 0.4
    neighbours: [helmet]
    parent: headgear
    exemplars:
      - image: caps/1.png
        boxes: [[0.1, 0.2, 0.3, 0.3], [0.5, 0.5, 0.2, 0.2]]
        positive: [true, false]
  - fire truck
  - label: odd one
    phrases: []
    exemplars:
      - {image: caps/1.png, boxes: [[0, 0, 1, 1]]}
"""


SHOWN = "concepts:\n  - label: cap\n    exemplars:\n      - "


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "caps").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "caps" / "1.png")
    return tmp_path / "shop.yaml"


def read(file: Path, text: str) -> Vocabulary:
    file.write_text(text, encoding="utf-8")
    return read_vocabulary(file)


def test_what_a_file_says(shop):
    found = read(shop, SHOP)
    cap, truck, odd = found.concepts
    assert cap == Concept("cap", ("cap", "baseball cap"), 0.4, ("helmet",), "headgear")
    assert truck == Concept("fire truck", ("fire truck",)) and odd == Concept("odd one", ())
    (entry,) = found.exemplars["cap"]
    assert entry["image"] == str(shop.parent / "caps/1.png") and entry["positive"] == [True, False]
    assert found.exemplars["odd one"][0]["positive"] == [True] and set(found.exemplars) == {"cap", "odd one"}


def test_aliases_are_fine(shop):
    found = read(shop, "concepts:\n  - {label: a, neighbours: &near [b, c]}\n  - {label: d, neighbours: *near}\n")
    assert [c.neighbours for c in found.concepts] == [("b", "c"), ("b", "c")]


@pytest.mark.parametrize(("text", "words"), [
    ("", "shop.yaml is empty"), ("concepts: [", "shop.yaml is no YAML"),
    ("[cap]", "line 1: a concept file is a mapping"),
    ("concept: [cap]", "line 1: a concept file has no 'concept': did you mean 'concepts'"),
    ("concepts: cap", "line 1: concepts must be a list"), ("concepts: []", "line 1: no concepts in the list"),
    ("{}", "line 1: no concepts: write 'concepts:'"),
    ("concepts:\n  - label: cap\n    phrase: [a]", "line 3: a concept has no 'phrase': did you mean 'phrases'"),
    ("concepts:\n  - label: cap\n    label: hat", "line 3: 'label' is given twice"),
    ("concepts:\n  - phrases: [cap]", "line 2: a concept without a label"),
    ("concepts:\n  - cap\n  - hat\n  - Cap", "line 4: the concept 'Cap' is given twice, first in line 2"),
    ("concepts:\n  - st. x\n  - stx\n  - st x\n", None),
    ("concepts:\n  - cap.\n  - cap", "differ only in what a field name cannot hold"),
    ("concepts:\n  - label: cap\n    phrases: [a, A]", "line 3: a phrase of 'cap' is given twice"),
    ("concepts:\n  - label: cap\n    phrases: []", "line 2: 'cap' has neither phrases nor an example"),
    ("concepts:\n  - label: cap\n    threshold: 40", "line 3: The threshold of 'cap' must be a number between 0 and 1"),
    ("concepts:\n  - label: cap\n    threshold: high", "line 3: The threshold of 'cap' must be a number"),
    ("concepts:\n  - label: cap\n    parent: Cap", "line 3: 'cap' cannot be its own parent"),
    ("concepts:\n  - no", "line 2: a word is needed here, got 'no': put it into quotes"),
    ("concepts:\n  - 12", "line 2: a word is needed here, got '12'"),
    ("concepts:\n  - ''", "must hold at least one word"),
    ("concepts:\n  - [cap]", "line 2: a concept is a mapping"),
    ("concepts: &a\n  - {label: cap, neighbours: *a}", "an alias stands within what it names"),
    ("concepts:\n  - !!python/object:os.system {}", "line 2"),
    (SHOWN + "boxes: [[0,0,1,1]]", "line 4: an example without image"),
    (SHOWN + "{image: no.png, boxes: [[0,0,1,1]]}", "line 4: the image 'no.png' does not exist"),
    (SHOWN + "{image: caps/1.png, boxes: [[0,0,1]]}", r"line 4: a box is \[x, y, width"),
    (SHOWN + "{image: caps/1.png, boxes: [[0,0,1,1]], positive: [1]}", "true or false for each of 1 boxes"),
])  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(shop, text, words):
    if words is None:
        with pytest.raises(ConceptError, match="differ only"):
            read(shop, text)
        return
    with pytest.raises(ConceptError, match=words):
        read(shop, text)


def test_a_file_that_unfolds_without_end_is_refused(shop):
    lines = ["concepts:", "  - {label: a, neighbours: &a0 [x, x, x, x, x, x, x, x, x, x]}"]
    lines += [f"  - {{label: b{k}, neighbours: &a{k + 1} [{', '.join([f'*a{k}'] * 10)}]}}" for k in range(9)]
    with pytest.raises(ConceptError, match="more than 200,000 values"):
        read(shop, "\n".join(lines))
    with pytest.raises(ConceptError, match="too deep|no YAML"):
        read(shop, "concepts: " + "[" * 900 + "]" * 900)


def test_files_that_are_not_there_or_not_text(shop):
    with pytest.raises(ConceptError, match="shop.yaml' does not exist"):
        read_vocabulary(shop)
    shop.write_bytes(b"\xff\xfe\x00\xff")
    with pytest.raises(ConceptError, match="cannot be read"):
        read_vocabulary(shop)


@pytest.mark.parametrize(("classes", "so"), [
    ("shop.yaml", True), (" a/b.yml ", True), (Path("shop.txt"), True), ("cap, hat", False), (["shop.yaml"], False),
    (None, False), ({"a": "b"}, False),
])  # fmt: skip
def test_what_is_taken_for_a_file(classes, so):
    assert is_vocabulary(classes) == so


LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs"))
WORDS = st.text(LETTERS, min_size=1, max_size=12)
CONCEPTS = st.builds(
    lambda label, phrases, threshold, near, parent: Concept(label, tuple(phrases) or (label,), threshold, near, parent),
    WORDS, st.lists(WORDS, max_size=3, unique_by=str.casefold), st.none() | st.floats(0, 1),
    st.lists(WORDS, max_size=2).map(tuple), st.none() | WORDS,
)  # fmt: skip


def bare(concept: Concept) -> str:
    """What a field name can hold of it."""
    return concept.label.replace(".", "").lstrip("$_ ").casefold()


@given(st.lists(CONCEPTS, min_size=1, max_size=4, unique_by=bare))
@settings(max_examples=80, deadline=None)
def test_what_is_written_comes_back(tmp_path_factory, concepts):
    concepts = [c for c in concepts if (c.parent or "").casefold() != c.label.casefold()]
    file = tmp_path_factory.mktemp("v") / "v.yaml"
    if concepts:
        write_vocabulary(file, Vocabulary(tuple(concepts)))
        assert read_vocabulary(file) == Vocabulary(tuple(concepts))


def test_examples_are_written_relative_to_the_file(shop):
    before = read(shop, SHOP)
    write_vocabulary(shop.parent / "again.yaml", before)
    assert read_vocabulary(shop.parent / "again.yaml") == before
    assert "image: caps/1.png" in (shop.parent / "again.yaml").read_text()


# ---------------------------------------------------------------------------------------------------- in FiftyOne


def test_a_model_asks_what_the_file_says_and_the_dataset_gives_it_back(shop, tmp_path):
    dataset = build_dataset("vocabulary-file", tmp_path / "media", count=2)
    read(shop, "concepts:\n  - {label: hat, phrases: [cap], threshold: 0.3, parent: clothes}\n  - fox\n")
    model = load_model("concepts/sam3-tiny-image", classes=str(shop), thresholds={"fox": 0.6})
    list(segment(dataset, model))
    entry = run_info(dataset)["concepts"]["hat"]
    assert (entry["phrases"], entry["threshold"], entry["parent"]) == (["cap"], 0.3, "clothes")
    exported = vocabulary_of(dataset)
    assert exported.concepts == (
        Concept("hat", ("cap",), 0.3, (), "clothes"), Concept("fox", ("fox",), 0.6),
    )  # fmt: skip
    write_vocabulary(tmp_path / "shared.yml", exported)
    again = load_model("concepts/sam3-tiny-image", classes=tmp_path / "shared.yml")
    assert list(segment(dataset, again, skip_existing=True))[-1].total == 0, "the same question"
    with pytest.raises(ConceptError, match="no concepts in the ledger 'other'"):
        vocabulary_of(dataset, "other")
    dataset.delete()


def test_examples_of_a_file_are_a_bank(shop):
    read(shop, SHOP)
    model = load_model("concepts/sam3-tiny-image", classes=shop)
    assert [c.label for c in model.asked_always()] == ["cap", "fire truck", "odd one"]
    assert set(model.bank.entries) == {"cap", "odd one"}
    with pytest.raises(ConceptError, match="'odd one' has no phrases: in videos"):
        load_model("concepts/sam3-tiny-video", classes=shop)
