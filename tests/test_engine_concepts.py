"""What may be asked, how it may be written, and what is refused before anything runs."""

from __future__ import annotations

from ast import literal_eval
from collections import OrderedDict
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from zoo.engine.checkpoint import TINY
from zoo.engine.concepts import MAX_TOKENS, Concept, check_fraction, check_length, check_phrase, parse_concepts
from zoo.engine.errors import ConceptError

RED_CAP = Concept("red cap", ("red cap",))
BUS = Concept("bus", ("bus",))


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY, local_files_only=True)


@pytest.mark.parametrize(
    "classes",
    [
        ["red cap", "bus"],
        ("red cap", "bus"),
        iter(["red cap", "bus"]),
        np.array(["red cap", "bus"]),
        {"red cap": None, "bus": None}.keys(),
        "red cap, bus",
        "red cap,bus",
        "  red   cap ,\tbus\n",
        ["\tred \n cap ", " bus"],
        {"red cap": "red cap", "bus": "bus"},
        {"red cap": ["red cap"], "bus": ("bus",)},
        OrderedDict({" red  cap": "red cap ", "bus": iter(["bus"])}),
    ],
    ids=lambda classes: repr(classes).split(" object at ")[0],  # an address is another in another process
)
def test_every_form_is_the_same_concepts(classes):
    assert parse_concepts(classes) == (RED_CAP, BUS)


def test_a_string_is_split_at_commas_but_list_items_and_labels_are_not():
    assert [c.label for c in parse_concepts("cap, red")] == ["cap", "red"]
    assert [c.label for c in parse_concepts(["cap, red"])] == ["cap, red"]
    assert [c.label for c in parse_concepts({"cap, red": "cap"})] == ["cap, red"]


def test_labels_and_phrases_may_differ():
    person, ball = parse_concepts({"person": ["a person", "people"], "ball": "soccer ball"})
    assert person == Concept("person", ("a person", "people"))
    assert ball == Concept("ball", ("soccer ball",))


def test_letters_of_any_script_are_kept_as_they_are():
    labels = ["Fire Truck", "bœuf", "消防车", "it's a №1!", "🚒"]
    assert [c.label for c in parse_concepts(labels)] == labels


NOTHING = r"No concepts to look for: pass classes=\["


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        # nothing asked
        (None, NOTHING),
        ([], NOTHING),
        ((), NOTHING),
        ({}, NOTHING),
        (iter([]), NOTHING),
        ("", NOTHING),
        ("  \t\n", NOTHING),
        (",", NOTHING),
        (" , ,, ", NOTHING),
        # empty or white space among others
        ([""], "must hold at least one word, got ''"),
        (["bus", "   "], r"must hold at least one word, got '   '"),
        (["bus", "\u00a0\u2003"], "must hold at least one word"),
        ("bus,,cap", "must hold at least one word, got ''"),
        ("bus, ,cap", "must hold at least one word, got ' '"),
        ("bus,", "must hold at least one word"),
        ({"": "bus"}, "must hold at least one word"),
        ({"bus": ""}, "must hold at least one word"),
        ({"bus": ["bus", " "]}, "must hold at least one word"),
        ({"bus": []}, "'bus' has no phrase"),
        # not strings
        (["bus", 3], r"must be a string, got 3 \(int\)"),
        (["bus", None], r"must be a string, got None \(NoneType\)"),
        ([["bus"]], r"must be a string, got \['bus'\] \(list\)"),
        ([{"bus": "bus"}], "must be a string"),
        (b"bus", r"must be a string, got 98 \(int\)"),
        ([b"bus"], r"must be a string, got b'bus' \(bytes\)"),
        ({3: "bus"}, r"must be a string, got 3 \(int\)"),
        ({"bus": 3}, r"must be a string, got 3 \(int\)"),
        ({"bus": None}, r"must be a string, got None"),
        ({"bus": ["bus", 2.5]}, r"must be a string, got 2.5 \(float\)"),
        (3, r"must be a list, a string or a mapping, got 3 \(int\)"),
        (True, "must be a list, a string or a mapping, got True"),
        # twice
        (["bus", "bus"], "'bus' is given twice"),
        ("bus, cap, bus", "'bus' is given twice"),
        (["bus", " bus "], "'bus' is given twice"),
        (["fire truck", "fire  truck"], "'fire truck' is given twice"),
        (["Bus", "bus"], "'bus' is given twice"),
        (["straße", "STRASSE"], "'STRASSE' is given twice"),
        ({"bus": "a", " bus": "b"}, "'bus' is given twice"),
        ({"bus": ["a bus", "A Bus"]}, "phrase of 'bus' 'A Bus' is given twice"),
    ],
)
def test_what_is_no_concept_is_refused(classes, message):
    with pytest.raises(ConceptError, match=message):
        parse_concepts(classes)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("U.S. flag", "US flag"),
        ("bus", "$bus"),
        ("bus", "_bus"),
        ("bus", "$_$bus"),
        ("bus", "_ bus"),
        ("bus.", "bus"),
        ("b.us", "bu.s"),
        ("bus", ".$_Bus"),
        (".", "$"),
        ("no. 1", "no 1"),
        ("a . b", "a b"),
    ],
)
@pytest.mark.parametrize("as_labels", [False, True])
def test_twins_as_a_field_are_refused_with_a_way_out(first, second, as_labels):
    for pair in ((first, second), (second, first)):
        classes = {pair[0]: "one", pair[1]: "other"} if as_labels else list(pair)
        with pytest.raises(ConceptError, match="differ only in what a field name cannot hold") as caught:
            parse_concepts(classes)
        assert f"{pair[0]!r} and {pair[1]!r}" in str(caught.value)
        # what the sentence proposes works
        way_out = literal_eval(str(caught.value).partition("classes=")[2])
        assert len(parse_concepts({pair[0]: "one", **way_out})) == 2


@pytest.mark.parametrize(
    "classes", [["bus", "b$us", "b_us"], ["$bus", "_cap"], ["bus", "bus stop"], {"cap": ["U.S. cap", "US cap", "_cap"]}]
)
def test_names_that_merely_look_alike_are_welcome(classes):
    assert [c.label for c in parse_concepts(classes)] == list(classes)


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25), np.float64(0), np.int64(1)])
def test_thresholds(value):
    cap, bus = parse_concepts("cap, bus", {" bus ": value})
    assert cap.threshold is None
    assert bus.threshold == value and type(bus.threshold) is float


@pytest.mark.parametrize(
    "value", [-0.01, 1.01, 50, float("nan"), float("inf"), float("-inf"), "0.5", None, True, Decimal("0.5"), [0.5], 1j]
)
def test_thresholds_outside_0_to_1_are_refused(value):
    with pytest.raises(ConceptError, match="threshold of 'bus' must be a number between 0 and 1") as caught:
        parse_concepts("bus", {"bus": value})
    assert repr(value) in str(caught.value)
    with pytest.raises(ConceptError, match="^The floor must be a number between 0 and 1"):
        check_fraction(value, "floor")


@pytest.mark.parametrize("label", ["truck", "Bus", "a bus"])
def test_a_threshold_for_nothing_asked_is_refused(label):
    with pytest.raises(ConceptError, match=f"Threshold given for {label!r}, which is not among the concepts: 'bus'"):
        parse_concepts({"bus": "a bus"}, {label: 0.5})


def test_errors_do_not_list_hundreds_of_concepts():
    with pytest.raises(ConceptError) as caught:
        parse_concepts([f"thing {k}" for k in range(500)], {"bus": 0.5})
    assert "'thing 7', … (500 in all)" in str(caught.value) and "thing 8'" not in str(caught.value)


def test_no_thresholds_are_no_thresholds():
    assert parse_concepts("bus", {}) == parse_concepts("bus", None) == (BUS,)


def test_phrases_that_fill_the_text_encoder_pass_and_longer_ones_do_not(tokenizer):
    words = "cap " * (MAX_TOKENS - 2)  # and the start and end markers
    check_length(["cap", words], tokenizer)
    with pytest.raises(ConceptError, match="takes 33 tokens; SAM 3 reads at most 32") as caught:
        check_length(["cap", words + "cap"], tokenizer)
    assert "use a short noun phrase" in str(caught.value)


def test_length_is_counted_in_tokens_not_in_words(tokenizer):
    with pytest.raises(ConceptError, match="tokens"):
        check_length(["q" * 40], tokenizer)  # one word, but none the tokenizer knows


@given(st.text())
def test_tidying_is_done_once_and_only_touches_white_space(text):
    if not text.split():
        with pytest.raises(ConceptError):
            check_phrase(text)
        return
    tidy = check_phrase(text)
    assert check_phrase(tidy) == tidy
    assert tidy.split() == text.split()
    assert "  " not in tidy and tidy == tidy.strip()


phrases = st.text(alphabet="abcXYZ é$_.", min_size=1, max_size=6)


@given(st.dictionaries(phrases, st.lists(phrases, min_size=1, max_size=3), min_size=1, max_size=4), st.data())
def test_round_trip(classes, data):
    """Whatever is accepted can be written again in every form that can hold it, and means the same."""
    try:
        concepts = parse_concepts(classes)
    except ConceptError:
        return
    assert len(concepts) == len(classes)
    assert parse_concepts({c.label: c.phrases for c in concepts}) == concepts
    plain = parse_concepts([c.label for c in concepts])
    assert plain == parse_concepts(",".join(c.label for c in concepts))
    assert plain == parse_concepts({c.label: c.label for c in concepts})
    chosen = data.draw(st.dictionaries(st.sampled_from([c.label for c in concepts]), st.floats(0, 1)))
    assert {c.label: c.threshold for c in parse_concepts(classes, chosen) if c.threshold is not None} == chosen


@given(st.lists(phrases, max_size=5))
def test_accepted_labels_stay_apart_as_field_names(labels):
    """MongoDB's limits: no dots, no leading ``$``; FiftyOne's: no leading ``_``; the App's slider ignores case."""
    try:
        accepted = parse_concepts(labels)
    except ConceptError:
        return
    bare = [" ".join(c.label.replace(".", "").lstrip("$_ ").split()).lower() for c in accepted]
    assert len(set(bare)) == len(bare) == len(labels)
