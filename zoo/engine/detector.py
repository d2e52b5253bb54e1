"""Concept detection on images: encode once, ask many times.

Encoding an image costs SAM 3 thirteen times what a concept costs on top, so images are encoded once and every
concept is decoded from the cached features; so is the first self-attention of the DETR encoder, which reads no
words; texts are encoded once a run, and asked without their padding; and since the confidence of an instance is
its object score times presence, masks (a third of a concept's cost, most of its memory) are computed only for the
queries that survive their threshold, a few of one image together (:mod:`survivors`), and what they share is computed
once (:mod:`mask_head`). An absent concept leaves two numbers behind, so that a thousand cost no more memory than ten.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .answers import Answer, Work
from .asked import Asked, Batch, Decoded, Found, ImageFeatures
from .budget import pairs_that_fit
from .checkpoint import Checkpoint
from .concepts import Concept, check_length
from .errors import ConceptError
from .geometry import beside, examples, no_example
from .mask_head import MaskHead
from .prompts import VISUAL, Exemplars
from .queries import QueryDecoder, padding_mask
from .reading import PromptReader
from .results import ConceptResult
from .survivors import Survivors
from .transfers import ToHost, ahead, to_device
from .vision import VisionEncoder

#: phrases whose text features are kept
_REMEMBERED = 20_000


class ConceptDetector:
    """SAM 3 on images, for any number of concepts.

    Args:
        checkpoint: what :func:`load_checkpoint` returned
        cls_token: Meta's code always appends a geometry CLS token to the prompt, with or without boxes;
            transformers leaves it out of text-only prompts. ``True`` reproduces Meta, ``False`` transformers
        pairs_per_chunk: (image, phrase) pairs decoded together; bounds memory, does not change results; ``None``: as
            many as the device has room for, see :func:`pairs_that_fit`
        masks_per_chunk: of these, how many have their masks computed together

    >>> detector = ConceptDetector(load_checkpoint())                                    # doctest: +SKIP
    >>> features = detector.encode_images(pixels, sizes)                                 # doctest: +SKIP
    >>> results = detector.detect(features, [concepts] * len(sizes), threshold=0.5)      # doctest: +SKIP
    """

    def __init__(
        self, checkpoint: Checkpoint, *, cls_token: bool = True, pairs_per_chunk: int | None = None,
        masks_per_chunk: int = 4,
    ) -> None:
        if pairs_per_chunk is None:
            pairs_per_chunk = pairs_that_fit(checkpoint)
        if pairs_per_chunk < 1 or masks_per_chunk < 1:
            raise ValueError(f"Chunks must hold at least 1, got {pairs_per_chunk} pairs and {masks_per_chunk} masks")
        self.checkpoint = checkpoint
        self.cls_token = cls_token
        self.pairs_per_chunk = pairs_per_chunk
        self.masks_per_chunk = masks_per_chunk
        #: chunks of pairs that are ordered before the answers to an earlier one are awaited: a CPU has nothing from it
        self.lookahead = int(checkpoint.device.type == "cuda")
        model, whole = checkpoint.model, checkpoint.compile == "all"
        self._vision = checkpoint.part("vision", lambda: VisionEncoder(model, compiled=checkpoint.compile is not None))
        self._reader = checkpoint.part("reader", lambda: PromptReader(model, compiled=whole))
        self._decoder = checkpoint.part("decoder", lambda: QueryDecoder(model, compiled=whole))
        self._mask_head = checkpoint.part("mask head", lambda: MaskHead(model.mask_decoder))
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (checkpoint.mean, checkpoint.std))
        self._normal = (mean * 255).to(checkpoint.device), (std * 255).to(checkpoint.device)
        self._texts: dict[str, Tensor] = {}

    @torch.inference_mode()
    def encode_images(
        self, pixels: Tensor, sizes: Sequence[tuple[int, int]], *, tokens: bool = False
    ) -> ImageFeatures:
        """Encode images.

        Args:
            pixels: uint8 ``(B, 3, S, S)``, RGB, squeezed to the network's square (:func:`images.to_square`)
            sizes: ``(height, width)`` of the originals, in pixels
            tokens: keep what the tracker needs as well

        Returns:
            features, on the checkpoint's device
        """
        model, checkpoint = self.checkpoint.model, self.checkpoint
        mean, std = self._normal
        # the order of operations is the processor's, so that not even the last bit differs
        normalised = (to_device(pixels, checkpoint.device).float() - mean) / std
        vision = self._vision(normalised.to(checkpoint.dtype))
        positions = self._vision.positions(vision.levels[-1])
        cls = no_example(model, vision.levels[-1], positions) if self.cls_token else None
        coarse, positions = (t.flatten(2).transpose(1, 2) for t in (vision.levels[-1], positions))
        attended = self._reader.before(coarse, positions)
        originals = tuple((int(h), int(w)) for h, w in sizes)
        return ImageFeatures(vision.levels, attended, positions, cls, originals, vision.tokens if tokens else None)

    def encode_phrases(self, phrases: Sequence[str]) -> None:
        """Encode the phrases not yet known; each is encoded once in the detector's life.

        Raises:
            ConceptError: a phrase is longer than the text encoder reads
        """
        if len(self._texts) > _REMEMBERED:  # free captions of a large dataset: forget, do not grow
            self._texts.clear()
        new = [p for p in dict.fromkeys(phrases) if p not in self._texts]
        check_length(new, self.checkpoint.tokenizer)
        if not new:
            return
        words = self.checkpoint.tokenizer(new)
        lengths = [len(ids) for ids in words["input_ids"]]
        # the encoder is causal: a token does not know of what follows, so padding is only as long as it must be
        ordered = sorted(range(len(new)), key=lengths.__getitem__)
        for start in range(0, len(new), 64):
            part = ordered[start : start + 64]
            with torch.inference_mode():
                batch = self.checkpoint.tokenizer([new[k] for k in part], padding=True, return_tensors="pt")
                batch = batch.to(self.checkpoint.device)
                text = self.checkpoint.model.get_text_features(batch.input_ids, attention_mask=batch.attention_mask)
            for k, tokens in zip(part, text.pooler_output, strict=True):
                self._texts[new[k]] = tokens[: lengths[k]].clone()

    @torch.inference_mode()
    def learn(self, features: ImageFeatures, row: int, exemplars: Exemplars) -> Tensor:
        """What examples look like, for other images: tokens ``(K, C)``, one for each of the ``K`` boxes.

        Args:
            features: encoded images
            row: the image that the examples are in
            exemplars: examples and counter-examples
        """
        coarse = features.levels[-1][row : row + 1]
        (tokens,) = examples(self.checkpoint.model, coarse, features.square_positions, [exemplars])
        return tokens[: len(exemplars.boxes)].clone()

    def detect(
        self, features: ImageFeatures, concepts: Sequence[Sequence[Concept]], *, threshold: float = 0.5,
        floor: float | None = None, exemplars: Sequence[Mapping[str, Exemplars]] | None = None,
        learnt: Mapping[str, Tensor] | None = None,
    ) -> list[list[ConceptResult]]:
        """Find every instance of every concept.

        Args:
            features: ``B`` encoded images
            concepts: what to ask of each image; images may be asked different things
            threshold: confidence above which an instance counts, for concepts without their own
            floor: keep instances down to this confidence (they are returned, but not counted); ``None`` keeps
                those that count
            exemplars: for each image, label -> examples in that image. A concept without phrases is asked by its
                examples alone
            learnt: label -> what examples of it in other images look like, see :meth:`learn`

        Returns:
            per image, per concept in the order asked, its result, found or not

        Raises:
            ConceptError: a concept has neither phrases nor a positive example
        """
        work = self._work(features, concepts, threshold, floor, exemplars, learnt)
        for found in self.find(features, work.asked):
            work.add(found)
        return work.results()

    def stream(
        self, batches: Iterable[Batch], *, threshold: float = 0.5, floor: float | None = None
    ) -> Iterator[list[list[ConceptResult]]]:
        """As :meth:`encode_images` and :meth:`detect`, for one batch after the other, without a pause between them: on
        a GPU, the next batch is encoded while the answers to the last one are on their way to the host.

        Args:
            batches: asked for as they are needed, up to two before the first is answered
            threshold, floor: as of :meth:`detect`

        Yields:
            for each batch, in order, as :meth:`detect`
        """
        done: list[Work] = []
        current: Work | None = None
        for work, decoded, last in ahead(self._chunks(batches, threshold, floor), self.lookahead):
            if work is not current:
                current, survivors = work, self.survivors(work.features)
            if decoded is not None:
                for found in self._survive(decoded, survivors):
                    work.add(found)
            # not as soon as their last chunk was there: their masks were on their way still, and nothing was ordered
            yield from (one.results() for one in done)
            done.clear()
            if last:
                for complete, masks in survivors.rest():
                    work.add(complete(masks))
                done.append(work)
                if not self.lookahead:
                    yield done.pop().results()
        yield from (one.results() for one in done)

    def _chunks(
        self, batches: Iterable[Batch], threshold: float, floor: float | None
    ) -> Iterator[tuple[Work, Decoded | None, bool]]:
        """Batches on their way, chunk by chunk, and whether it is a batch's last; one that is asked nothing has one
        chunk without pairs.
        """
        for batch in batches:
            features = self.encode_images(batch.pixels, batch.sizes)
            work = self._work(features, batch.concepts, threshold, floor, batch.exemplars, batch.learnt)
            if not work.asked:
                yield work, None, True
            left = len(work.asked)
            for decoded in self.decode(features, work.asked):
                left -= len(decoded.asked)
                yield work, decoded, not left

    @staticmethod
    def _work(
        features: ImageFeatures, concepts: Sequence[Sequence[Concept]], threshold: float, floor: float | None,
        exemplars: Sequence[Mapping[str, Exemplars]] | None, learnt: Mapping[str, Tensor] | None,
    ) -> Work:
        """What is to be asked of encoded images, phrase by phrase."""
        if len(concepts) != len(features.sizes):
            raise ValueError(f"{len(features.sizes)} images are encoded, but concepts are given for {len(concepts)}")
        limits = [[threshold if c.threshold is None else c.threshold for c in asked] for asked in concepts]
        asked = []
        for row, some in enumerate(concepts):
            for k, concept in enumerate(some):
                shown = None if exemplars is None else exemplars[row].get(concept.label)
                known = None if learnt is None else learnt.get(concept.label)
                if not concept.phrases and known is None and (shown is None or not shown.shows):
                    raise ConceptError(f"The concept {concept.label!r} has no phrase: it needs a positive example")
                level = limits[row][k] if floor is None else min(floor, limits[row][k])
                asked += [Asked(row, k, phrase, level, shown, known) for phrase in concept.phrases or (VISUAL,)]
        return Work(features, concepts, limits, asked, [[Answer() for _ in some] for some in concepts])

    def find(self, features: ImageFeatures, asked: Sequence[Asked]) -> Iterator[Found]:
        """Answer phrase by phrase, in no particular order; the masks are the network's own, small and soft.

        Args:
            features: encoded images
            asked: what to ask of them
        """
        survivors = self.survivors(features)
        for decoded in ahead(self.decode(features, asked), self.lookahead):
            yield from self._survive(decoded, survivors)
        yield from (complete(masks) for complete, masks in survivors.rest())

    def _survive(self, decoded: Decoded, survivors: Survivors[Any]) -> Iterator[Found]:
        """What of a chunk is absent, and what was drawn because it came; the rest of it waits among ``survivors``."""
        presence_n, scores_nq, boxes_nq4 = decoded.presence, decoded.scores, decoded.boxes
        confidence_nq = scores_nq * presence_n[:, None]
        keep_nq = confidence_nq > torch.tensor([a.floor for a in decoded.asked])[:, None]
        columns = (presence_n, scores_nq.amax(1), keep_nq.any(1))
        for n, (presence, best, alive) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            kept = keep_nq[n].nonzero()[:, 0]
            there = (confidence_nq[n, kept], scores_nq[n, kept], boxes_nq4[n, kept])
            found = functools.partial(Found, decoded.asked[n], presence, best, *there)
            if alive:
                drawn = survivors.add(decoded.survivor(n, kept, found))
                yield from (complete(masks) for complete, masks in drawn)
            else:  # most absent concepts end here, before the dearest part of the network
                yield found(decoded.encoded.new_zeros(0, *survivors.size, dtype=torch.float32))

    def survivors(self, features: ImageFeatures, *, semantic: bool = False) -> Survivors[Any]:
        """Where pairs of encoded images wait for their pixels; ``semantic``: of their concept, not of instances."""
        return Survivors(self._mask_head, features.levels, self.masks_per_chunk, semantic=semantic)

    def decode(self, features: ImageFeatures, asked: Sequence[Asked]) -> Iterator[Decoded]:
        """All that is known of pairs without their pixels, a chunk at a time, image by image.

        Args:
            features: encoded images
            asked: what to ask of them
        """
        self.encode_phrases([a.phrase for a in asked])
        # phrases of one length need no padding
        ordered = sorted(asked, key=lambda a: (a.row, len(self._texts[a.phrase])))
        for start in range(0, len(ordered), self.pairs_per_chunk):
            yield self._decode(features, ordered[start : start + self.pairs_per_chunk])

    @torch.inference_mode()
    def _decode(self, features: ImageFeatures, asked: Sequence[Asked]) -> Decoded:
        """Decode one chunk of pairs."""
        model, device = self.checkpoint.model, self.checkpoint.device
        rows = to_device([a.row for a in asked], device)
        texts = [self._texts[a.phrase] for a in asked]
        prompt_ntc = pad_sequence(texts, batch_first=True)
        there = [[k < len(text) for k in range(prompt_ntc.shape[1])] for text in texts]
        shown = [n for n, a in enumerate(asked) if a.exemplars]
        if features.cls is not None:
            prompt_ntc = torch.cat([prompt_ntc, features.cls[rows]], 1)
            # examples come with a token of their own in its place
            there = [[*one, not a.exemplars] for one, a in zip(there, asked, strict=True)]
        if shown:
            places = to_device([asked[n].row for n in shown], device)
            drawn = examples(
                model, features.levels[-1][places], features.square_positions, [asked[n].exemplars for n in shown]
            )
            here = dict(zip(shown, drawn, strict=True))
            prompt_ntc, there = beside(prompt_ntc, there, [here.get(n) for n in range(len(asked))])
        if any(a.learnt is not None for a in asked):
            prompt_ntc, there = beside(prompt_ntc, there, [a.learnt for a in asked])
        mask_nt = padding_mask(there, device)
        encoded_npc = self._reader(features.attended[rows], features.positions, prompt_ntc, mask_nt)
        grid = tuple(features.levels[-1].shape[-2:])
        queries_nqc, boxes_nq4, scores_nq, presence_n = self._decoder(
            encoded_npc, features.positions, grid, prompt_ntc, mask_nt
        )
        numbers = torch.cat([presence_n[:, None], scores_nq, boxes_nq4.flatten(1)], 1)
        return Decoded(asked, ToHost(numbers), queries_nqc, encoded_npc, prompt_ntc, there)
