"""What is asked of images, what they are encoded as, and what the network says, before anybody sums it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from .concepts import Concept
from .prompts import Exemplars
from .survivors import Survivor
from .transfers import ToHost, to_device

T = TypeVar("T")


@dataclass(frozen=True)
class ImageFeatures:
    """A batch of encoded images.

    ``levels``: three float tensors ``(B, C, H_i, W_i)``, fine to coarse; ``attended``: ``(B, H * W, C)``, the coarse
    level after the DETR encoder's first self-attention; ``positions``: ``(1, H * W, C)``, its position encoding;
    ``cls``: ``(B, 1, C)`` geometry token or ``None``; ``sizes``: ``(height, width)`` of the originals; ``tokens``:
    ``(B, H * W, D)``, what the vision encoder hands to the tracker, if that was asked for.
    """

    levels: tuple[Tensor, ...]
    attended: Tensor
    positions: Tensor
    cls: Tensor | None
    sizes: tuple[tuple[int, int], ...]
    tokens: Tensor | None = None

    @property
    def square_positions(self) -> Tensor:
        """The positions as the coarse level lies, ``(1, C, H, W)``."""
        return self.positions.transpose(1, 2).unflatten(2, self.levels[-1].shape[-2:])


@dataclass(frozen=True)
class Asked:
    """One phrase asked of one image: the image's ``row``, the ``concept`` that the answer is about, counted within that
    image, and the ``floor``: confidence above which an instance is found; ``exemplars`` in that image, and tokens
    ``(K, C)`` of examples in other images (:meth:`ConceptDetector.learn`), if there are any: all are one query.
    """

    row: int
    concept: int
    phrase: str
    floor: float
    exemplars: Exemplars | None = None
    learnt: Tensor | None = None


@dataclass(frozen=True)
class Found:
    """What one phrase gave in one image: ``presence``, and the best ``object_score`` before presence, in [0, 1]; of the
    ``K`` instances found their ``confidences`` and ``scores`` ``(K,)``, and ``boxes`` ``(K, 4)`` xyxy in [0, 1], on the
    host; and ``masks`` logits ``(K, h, w)``, on the network's device. All are float32.
    """

    asked: Asked
    presence: float
    object_score: float
    confidences: Tensor
    scores: Tensor
    boxes: Tensor
    masks: Tensor


@dataclass(frozen=True)
class Decoded:
    """What the network says of ``N`` pairs ``asked``, before any pixel. ``numbers``, on their way to the host, are
    presence, object scores and boxes; the rest is what the mask decoder would read: ``queries`` ``(N, Q, C)``,
    ``encoded`` pixels ``(N, H * W, C)``, ``prompt`` ``(N, T, C)``, and which of its tokens are ``there``.
    """

    asked: Sequence[Asked]
    numbers: ToHost
    queries: Tensor
    encoded: Tensor
    prompt: Tensor
    there: Sequence[Sequence[bool]]

    @property
    def presence(self) -> Tensor:
        """float32 ``(N,)``, in [0, 1], on the host, as the next two."""
        return self.numbers.get()[:, 0]

    @property
    def scores(self) -> Tensor:
        """Object scores, float32 ``(N, Q)``, in [0, 1]."""
        return self.numbers.get()[:, 1 : 1 + self.queries.shape[1]]

    @property
    def boxes(self) -> Tensor:
        """Float32 ``(N, Q, 4)``, xyxy in [0, 1]."""
        return self.numbers.get()[:, 1 + self.queries.shape[1] :].unflatten(1, (-1, 4))

    def survivor(self, n: int, queries: Tensor | slice, what: T) -> Survivor[T]:
        """Pair ``n``, of which the ``queries`` survive: their places, or a slice; without a hold on the others."""
        device, there = self.encoded.device, self.there[n]
        tokens = sum(there)
        if all(there[:tokens]):
            prompt = self.prompt[n, :tokens]
        else:
            prompt = self.prompt[n, to_device([k for k, one in enumerate(there) if one], device)]
        chosen = queries if isinstance(queries, slice) else to_device(queries, device)
        return Survivor(self.asked[n].row, self.encoded[n].clone(), prompt, self.queries[n, chosen], what)


@dataclass(frozen=True)
class Batch:
    """Images, and what is asked of each.

    Attributes:
        pixels: uint8 ``(B, 3, S, S)``, RGB, squeezed to the network's square (:func:`images.to_square`)
        sizes: ``(height, width)`` of the originals, in pixels
        concepts: what to ask of each image; images may be asked different things
        exemplars: for each image, label -> examples in that image. A concept without phrases is asked by its examples
            alone
        learnt: label -> what examples of it in other images look like, see :meth:`ConceptDetector.learn`
    """

    pixels: Tensor
    sizes: Sequence[tuple[int, int]]
    concepts: Sequence[Sequence[Concept]]
    exemplars: Sequence[Mapping[str, Exemplars]] | None = None
    learnt: Mapping[str, Tensor] | None = None
