"""What exists in the emoji world, and what may be asked of it.

A *noun* is one sprite. A *tintable* noun also exists in four colours, so that "red cap" and "blue cap"
are different concepts while "cap" covers both. *Neighbours* are the nouns a careless detector confuses:
hard negatives are drawn from them.
"""

from __future__ import annotations

from dataclasses import dataclass

#: noun -> code points of the emoji that depicts it
NOUNS: dict[str, str] = {
    # faces
    "dog": "🐶", "cat": "🐱", "fox": "🦊", "wolf": "🐺", "bear": "🐻", "panda": "🐼", "koala": "🐨",
    "lion": "🦁", "tiger": "🐯", "mouse": "🐭", "rabbit": "🐰", "monkey": "🐵", "frog": "🐸", "pig": "🐷",
    # whole animals
    "cow": "🐄", "horse": "🐎", "zebra": "🦓", "elephant": "🐘", "giraffe": "🦒",
    "owl": "🦉", "duck": "🦆", "parrot": "🦜", "penguin": "🐧", "bat": "🦇",
    "fish": "🐠", "whale": "🐳", "shark": "🦈", "octopus": "🐙", "turtle": "🐢",
    # vehicles
    "car": "🚗", "bus": "🚌", "fire truck": "🚒", "ambulance": "🚑", "tractor": "🚜",
    "bicycle": "🚲", "sailboat": "⛵",
    # food
    "apple": "🍎", "strawberry": "🍓", "lemon": "🍋", "orange": "🍊", "banana": "🍌", "pizza": "🍕",
    "hamburger": "🍔",
    # sport
    "baseball": "⚾", "basketball": "🏀", "soccer ball": "⚽", "tennis racket": "🎾", "cricket bat": "🏏",
    # things
    "cap": "🧢", "t-shirt": "👕", "backpack": "🎒", "umbrella": "☂", "balloon": "🎈", "book": "📕",
    "guitar": "🎸", "computer mouse": "🖱", "keyboard": "⌨", "cactus": "🌵", "palm tree": "🌴",
}

#: colours -> (hue in degrees, brightness factor) that paint a tintable sprite
COLOURS: dict[str, tuple[float, float]] = {
    "red": (2.0, 0.95), "yellow": (48.0, 1.0), "green": (132.0, 0.72), "blue": (214.0, 0.95),
}

TINTABLE: tuple[str, ...] = (
    "cap", "car", "fire truck", "backpack", "umbrella", "balloon", "book", "guitar",
)

#: groups of nouns that are each other's near neighbours; a noun may sit in several
NEIGHBOURHOODS: tuple[tuple[str, ...], ...] = (
    ("dog", "fox", "wolf", "cat"),
    ("cat", "lion", "tiger", "fox"),
    ("bear", "panda", "koala", "monkey", "dog"),
    ("mouse", "computer mouse", "keyboard"),
    ("mouse", "rabbit", "koala", "pig"),
    ("bat", "cricket bat", "owl"),
    ("cricket bat", "tennis racket", "guitar"),
    ("cow", "horse", "zebra", "giraffe", "elephant"),
    ("owl", "duck", "parrot", "penguin"),
    ("fish", "whale", "shark", "octopus"),
    ("turtle", "frog"),
    ("car", "bus", "fire truck", "ambulance", "tractor"),
    ("bicycle", "sailboat", "tractor"),
    ("apple", "strawberry", "balloon"),
    ("lemon", "orange", "banana"),
    ("pizza", "hamburger"),
    ("baseball", "basketball", "soccer ball", "orange"),
    ("cap", "t-shirt", "backpack", "umbrella"),
    ("book", "guitar", "backpack"),
    ("cactus", "palm tree", "umbrella"),
)

#: words with two senses in this world: phrase -> the nouns it could be taken for.
#: As concepts they mean the first one; the second is the trap.
AMBIGUOUS: dict[str, tuple[str, str]] = {
    "mouse": ("mouse", "computer mouse"),
    "bat": ("bat", "cricket bat"),
    "orange": ("orange", "basketball"),
}

#: common nouns with no sprite: whatever the scene, they are absent
NEVER_DRAWN: tuple[str, ...] = (
    "person", "man", "woman", "child", "face", "hand", "unicorn", "dragon", "snake", "spider", "bee",
    "butterfly", "sheep", "goat", "camel", "crab", "seal", "crane", "train", "airplane", "helicopter",
    "rocket", "motorcycle", "truck", "van", "taxi", "boat", "ship", "house", "building", "bridge", "road",
    "street", "door", "window", "chair", "table", "sofa", "bed", "lamp", "clock", "phone", "laptop", "screen",
    "camera", "television", "bottle", "cup", "mug", "glass", "plate", "fork", "knife", "spoon", "bowl",
    "bread", "cake", "cheese", "egg", "carrot", "potato", "tomato", "grape", "cherry", "pear", "peach",
    "melon", "shoe", "boot", "sock", "hat", "helmet", "glove", "scarf", "jacket", "dress", "watch", "ring",
    "crown", "key", "hammer", "scissors", "pencil", "pen", "paper", "box", "bag", "suitcase", "flag", "star",
    "moon", "sun", "cloud", "mountain", "river", "flower", "rose", "leaf", "grass", "fence", "rock",
    "piano", "drum", "violin", "trumpet", "football", "kite", "skateboard", "fire hydrant",
    "traffic light", "stop sign", "bench", "toothbrush", "vase", "teddy bear", "hot dog", "golf ball",
)

#: words that are neither drawn nor ever trained on: what does the network make of a word it cannot know?
UNSEEN_WORDS: tuple[str, ...] = (
    "hedgehog", "sandwich", "scooter", "castle", "ladder", "pumpkin", "whistle", "saxophone", "lobster", "igloo",
    "telescope", "wheelbarrow", "accordion", "lighthouse", "dragonfly", "pineapple",
)


@dataclass(frozen=True)
class Thing:
    """One kind of object that can be drawn: a noun, and its colour if the noun is tintable."""

    noun: str
    colour: str | None = None

    @property
    def name(self) -> str:
        return f"{self.colour} {self.noun}" if self.colour else self.noun

    def answers(self, phrase: str) -> bool:
        """Whether an instance of this thing is an instance of the concept ``phrase``."""
        return phrase == self.noun or phrase == self.name


THINGS: tuple[Thing, ...] = tuple(
    Thing(noun, colour) for noun in NOUNS for colour in (COLOURS if noun in TINTABLE else (None,))
)

#: every concept that the world can depict: nouns first, then coloured nouns
CONCEPTS: tuple[str, ...] = tuple(NOUNS) + tuple(t.name for t in THINGS if t.colour)


def neighbours(noun: str) -> list[str]:
    """The nouns most easily mistaken for ``noun``, in a fixed order."""
    return [other for other in NOUNS if other != noun and any(noun in g and other in g for g in NEIGHBOURHOODS)]


def noun_of(phrase: str) -> str:
    """The noun of a concept: ``"red cap"`` -> ``"cap"``."""
    colour, _, rest = phrase.partition(" ")
    return rest if colour in COLOURS and rest in TINTABLE else phrase


def plural(phrase: str) -> str:
    """English plural of a concept of this world."""
    irregular = {"wolf": "wolves", "mouse": "mice", "fish": "fish", "computer mouse": "computer mice"}
    if phrase in irregular:
        return irregular[phrase]
    if phrase.endswith(("s", "x", "sh", "ch")):
        return phrase + "es"
    if phrase.endswith("y") and phrase[-2] not in "aeiou":
        return phrase[:-1] + "ies"
    return phrase + "s"
