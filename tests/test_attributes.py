"""Attributes in phrases: what can be swapped for what, and which phrase means more than which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.attributes import GROUPS, Swap, bare, narrower, swapped, swaps, swaps_to_ask

#: few, so that phrases often differ in one of them: attributes, synonyms of attributes, and things
WORDS = ["red", "Blue", "grey", "gray", "GOLD", "golden", "large", "big", "little", "wooden", "orange", "hot", "cap"]
phrases = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
attributes = st.sampled_from([word for words in GROUPS.values() for word in words] + ["Large", "GOLD", "steel", "gray"])
things = st.sampled_from(["cap", "Fire Truck", "orange", "dog"])
described = st.tuples(st.lists(attributes, min_size=1, max_size=3), things).map(lambda p: " ".join([*p[0], p[1]]))


def plainly(phrase: str) -> str:
    return " ".join(phrase.casefold().split())


# --- swaps ---


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("red cap", ["blue cap", "green cap", "yellow cap"]),
        ("blue cap", ["red cap", "green cap", "yellow cap"]),
        ("wooden chair", ["metal chair", "plastic chair", "glass chair"]),
        ("small dog", ["big dog"]),
        ("rotten banana", ["ripe banana", "unripe banana"]),
        ("cap", []),
        ("fire truck", []),
        ("red", []),
        ("", []),
        ("cap that is red", []),
        ("man in a red cap", ["man in a blue cap", "man in a green cap", "man in a yellow cap"]),
    ],
)
def test_swaps(phrase, expected):
    assert [swap.phrase for swap in swaps(phrase)] == expected


def test_a_swap_says_what_it_did():
    assert swaps("old dog") == (Swap("young dog", "old", "young", "age"),)


def test_each_attribute_is_swapped_alone():
    found = [swap.phrase for swap in swaps("small red cap", limit=2)]
    assert found == ["big red cap", "small blue cap", "small green cap"]


@pytest.mark.parametrize("limit", [0, 1, 2, 100])
def test_at_most_so_many_for_each_attribute(limit):
    found = swaps("young red dog", limit)
    assert sum(swap.group == "age" for swap in found) == min(limit, 1)
    assert sum(swap.group == "colour" for swap in found) == min(limit, 14)


@pytest.mark.parametrize("phrase", ["orange", "an orange", "plate of orange", "glass", "wine glass", "stone", "old"])
def test_the_thing_itself_is_never_swapped(phrase):
    assert swaps(phrase) == ()


@pytest.mark.parametrize(("phrase", "colour"), [("orange orange", "red orange"), ("black glass", "red glass")])
def test_a_thing_that_is_called_like_an_attribute(phrase, colour):
    found = swaps(phrase)
    assert found[0].phrase == colour and {swap.group for swap in found} == {"colour"}


@pytest.mark.parametrize("phrase", ["Red cap", "RED CAP", "rEd Cap"])
def test_the_case_of_an_attribute_does_not_matter(phrase):
    found = swaps(phrase)
    assert [swap.now for swap in found] == ["blue", "green", "yellow"]
    assert {swap.was for swap in found} == {phrase.split()[0]}
    assert {swap.phrase.split()[1] for swap in found} == {phrase.split()[1]}  # the rest stays as it was written


@pytest.mark.parametrize(
    ("word", "same"), [("grey", "gray"), ("gray", "grey"), ("gold", "golden"), ("large", "big"), ("little", "small")]
)
def test_two_words_for_one_attribute_are_not_swapped(word, same):
    now = [swap.now for swap in swaps(f"{word} cap", limit=100)]
    assert now and same not in now and word not in now


def test_of_two_words_for_one_attribute_one_is_asked():
    colours = [swap.now for swap in swaps("red cap", limit=100)]
    assert len({"grey", "gray"} & set(colours)) == 1 and len(colours) == len(set(colours))


@given(phrases, st.integers(0, 20))
def test_swaps_of_any_phrase(phrase, limit):
    found = swaps(phrase, limit)
    assert len({swap.phrase for swap in found}) == len(found)
    for swap in found:
        assert plainly(swap.phrase) != plainly(phrase)
        assert swap.phrase.split()[-1] == phrase.split()[-1]
        back = swapped(swap.phrase, phrase)
        assert (back.was, back.now, back.group) == (swap.now, swap.was.casefold(), swap.group)
        assert bare(swap.phrase) == bare(phrase)
        assert not narrower(swap.phrase, phrase) and not narrower(phrase, swap.phrase)


# --- swapped ---


@pytest.mark.parametrize(
    ("first", "second", "group"),
    [
        ("red cap", "blue cap", "colour"),
        ("Red Cap", "blue cap", "colour"),
        ("old red cap", "old green cap", "colour"),
        ("large dog", "little dog", "size"),
        ("wood chair", "steel chair", "material"),
        ("left shoe", "right shoe", "side"),
        ("grey cat", "gold cat", "colour"),
    ],
)
def test_one_attribute_apart(first, second, group):
    assert swapped(first, second).group == group
    assert swapped(first, second).phrase == second


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("red cap", "red cap"),
        ("red cap", "RED CAP"),
        ("red cap", "cap"),
        ("red cap", "red hat"),
        ("red cap", "blue hat"),
        ("red cap", "old cap"),  # of two groups: a cap can be both
        ("red cap", "hot cap"),
        ("hot dog", "cold dog"),
        ("old red cap", "young blue cap"),
        ("old red cap", "red cap"),
        ("grey cat", "gray cat"),
        ("large dog", "big dog"),
        ("cap red", "cap blue"),  # the last word is the thing
        ("red", "blue"),
        ("", ""),
        ("red cap", ""),
    ],
)
def test_not_one_attribute_apart(first, second):
    assert swapped(first, second) is None and swapped(second, first) is None


@given(phrases, phrases)
def test_swapped_is_symmetric(first, second):
    forth, back = swapped(first, second), swapped(second, first)
    assert (forth is None) == (back is None)
    if forth is not None:
        assert (forth.was, forth.now, forth.group) == (back.now, back.was, back.group)
        assert plainly(first) != plainly(second)


@given(phrases)
def test_nothing_is_swapped_for_itself(phrase):
    assert swapped(phrase, phrase) is None and swapped(phrase, phrase.swapcase()) is None


# --- swaps to ask ---


@pytest.mark.parametrize(
    ("concepts", "limit", "expected"),
    [
        ([], 3, ()),
        (["cap", "dog"], 3, ()),
        (["red cap"], 2, ("blue cap", "green cap")),
        (["red cap", "blue cap"], 2, ("green cap",)),
        (["red cap", "Blue Cap"], 1, ()),
        (["red cap", "red hat"], 1, ("blue cap", "blue hat")),
        (["small dog", "big dog"], 3, ()),
        (["red cap", "yellow cap"], 3, ("blue cap", "green cap")),
    ],
)
def test_what_is_left_to_ask(concepts, limit, expected):
    assert swaps_to_ask(concepts, limit) == expected


def test_concepts_may_come_from_anywhere():
    assert swaps_to_ask(iter(["red cap", "dog"]), 1) == ("blue cap",)


@given(st.lists(phrases, max_size=4), st.integers(0, 5))
def test_what_is_known_is_not_asked_again(concepts, limit):
    found = swaps_to_ask(concepts, limit)
    assert len(set(found)) == len(found)
    assert {plainly(phrase) for phrase in found}.isdisjoint(map(plainly, concepts))
    assert all(any(swapped(concept, phrase) for concept in concepts) for phrase in found)


# --- bare, narrower ---


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("red fire truck", "fire truck"),
        ("Red Fire Truck", "Fire Truck"),
        ("small old wooden chair", "chair"),
        ("man in a red cap", "man in a cap"),
        ("hot dog", "hot dog"),
        ("orange", "orange"),
        ("red", "red"),
        ("large orange", "orange"),
        ("cap", "cap"),
        ("", ""),
    ],
)
def test_without_its_attributes(phrase, expected):
    assert bare(phrase) == expected


@pytest.mark.parametrize(
    ("phrase", "other"),
    [
        ("red cap", "cap"),
        ("Red Cap", "cap"),
        ("red cap", "CAP"),
        ("old red cap", "red cap"),
        ("old red cap", "cap"),
        ("large fire truck", "fire truck"),
        ("orange orange", "orange"),
    ],
)
def test_narrower(phrase, other):
    assert narrower(phrase, other) and not narrower(other, phrase)


@pytest.mark.parametrize(
    ("phrase", "other"),
    [
        ("hot dog", "dog"),  # none that can be seen
        ("fire truck", "truck"),
        ("cap", "cap"),
        ("red cap", "blue cap"),
        ("red cap", "hat"),
        ("old red cap", "old cap"),  # not in front
        ("red cap", "red"),
        ("red cap", ""),
        ("", "cap"),
        ("", ""),
        ("red", "red"),
        ("handicap", "cap"),
        ("red hot dog", "dog"),
    ],
)
def test_not_narrower(phrase, other):
    assert not narrower(phrase, other)


@given(described)
def test_a_described_thing_is_narrower_than_the_thing(phrase):
    assert narrower(phrase, bare(phrase)) and bare(bare(phrase)) == bare(phrase)


@given(phrases, phrases, phrases)
def test_narrower_is_an_order(first, second, third):
    assert not (narrower(first, second) and narrower(second, first))
    if narrower(first, second) and narrower(second, third):
        assert narrower(first, third)


@pytest.mark.parametrize(("group", "words"), GROUPS.items())
def test_groups_are_of_different_words(group, words):
    others = {word for name, more in GROUPS.items() if name != group for word in more}
    assert len(set(words)) == len(words) > 1 and others.isdisjoint(words)
    assert all(word == word.casefold() and " " not in word for word in words)
