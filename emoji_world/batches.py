"""Training data: scenes drawn by worker processes into a growing pool, prompts drawn afresh for every step."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from transformers import CLIPTokenizer

from zoo.engine.prompts import VISUAL

from .architecture import GRID, IMAGE_SIZE
from .lessons import Lesson, narrowing, refusal, scene_lessons
from .losses import FINE, Batch
from .prompts import Prompt, reword, scene_prompts
from .scenes import Scene, render, sample_scene
from .vocabulary import NOUNS, THINGS

#: training scenes have seeds from here on; everything below is left to tests and measurement
FIRST_TRAINING_SEED = 1_000_000
_TOKENS = 14  # the longest wording of a concept, with its start and its end
_EXEMPLARS = 4
#: where more than this share of the prompts are lessons, counter-examples are drilled
DRILLED = 0.25


@dataclass(frozen=True)
class Drawn:
    """A scene at the network's size: ``image`` uint8 ``(S, S, 3)``; ``cover`` uint8 ``(N, FINE, FINE)``, 255 where
    an object fills the cell; ``boxes`` float32 ``(N, 4)`` cxcywh in [0, 1]; ``cells`` int16 ``(2, G, G)``.
    """

    scene: Scene
    image: np.ndarray
    cover: np.ndarray
    boxes: np.ndarray
    cells: np.ndarray


def draw(seed: int) -> Drawn:
    """The scene of ``seed``, squeezed to the network's square as the processor does it."""
    scene = sample_scene(seed)
    image, masks = render(scene, scale=2 * IMAGE_SIZE / max(scene.width, scene.height))
    boxes = np.zeros((len(masks), 4), np.float32)
    cover = np.zeros((len(masks), FINE, FINE), np.uint8)
    share = np.zeros((len(masks), GRID, GRID), np.float32)
    height, width = image.shape[:2]
    for i, mask in enumerate(masks):
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x0, x1, y0, y1 = xs[0] / width, (xs[-1] + 1) / width, ys[0] / height, (ys[-1] + 1) / height
        boxes[i] = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
        cover[i] = cv2.resize(mask.astype(np.uint8) * 255, (FINE, FINE), interpolation=cv2.INTER_AREA)
        share[i] = cv2.resize(cover[i], (GRID, GRID), interpolation=cv2.INTER_AREA) / 255
    cells = np.stack([np.full((GRID, GRID), len(NOUNS)), np.full((GRID, GRID), len(THINGS))]).astype(np.int16)
    if len(masks):
        owner, filled = share.argmax(0), share.max(0) > 0.35
        nouns = list(NOUNS)
        noun = np.array([nouns.index(o.thing.noun) for o in scene.objects])
        thing = np.array([THINGS.index(o.thing) for o in scene.objects])
        cells[0][filled], cells[1][filled] = noun[owner][filled], thing[owner][filled]
    small = cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
    return Drawn(scene, small, cover, boxes, cells)


def _keep_drawing(queue: multiprocessing.Queue, first: int, step: int, contrasts: bool) -> None:
    os.nice(10)  # the network comes first
    cv2.setNumThreads(1)
    seed = first
    while True:
        if not contrasts or seed // step % 8 == 0 or _contrasts(seed):
            drawn = draw(seed)
            if len(drawn.boxes):
                queue.put(drawn)
        seed += step


def _contrasts(seed: int) -> bool:
    """Whether a scene shows a noun in several colours."""
    things = {o.thing for o in sample_scene(seed).objects}
    return len(things) > len({t.noun for t in things})


class Pool:
    """Scenes to train on: as many as the workers have drawn so far, at most ``capacity``, then the oldest goes.

    A scene is shown several times with other prompts, mirrored or not: drawing costs more than reading.

    Args:
        workers: processes that draw
        first_seed: of the first scene
        capacity: scenes
        contrasts: most scenes without a noun in several colours are left out
    """

    def __init__(self, workers: int, first_seed: int, capacity: int, contrasts: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue = context.Queue(64)
        self._capacity = capacity
        self._scenes: list[Drawn] = []
        self._next = 0
        self._workers = [
            context.Process(target=_keep_drawing, args=(self._queue, first_seed + k, workers, contrasts), daemon=True)
            for k in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def take_in(self, at_least: int, at_most: int = 6) -> None:
        """Move drawn scenes into the pool; wait until it holds ``at_least`` scenes."""
        taken = 0
        while len(self._scenes) < at_least or (taken < at_most and not self._queue.empty()):
            drawn = self._queue.get()
            taken += 1
            if len(self._scenes) < self._capacity:
                self._scenes.append(drawn)
            else:
                self._scenes[self._next] = drawn
                self._next = (self._next + 1) % self._capacity

    def __len__(self) -> int:
        return len(self._scenes)

    def sample(self, rng: np.random.Generator, count: int) -> list[Drawn]:
        return [self._scenes[int(k)] for k in rng.integers(len(self._scenes), size=count)]


def make_batch(
    scenes: list[Drawn], tokenizer: CLIPTokenizer, rng: np.random.Generator, prompts: int, lessons: float = 0.25
) -> Batch:
    """Ask ``prompts`` phrases of every scene: about half of them present, most absent ones cruel.

    ``lessons``: this share of the present phrases, and of the cruel ones, gives way to exemplar boxes, with words or
    without ("visual"); where it is large, counter-examples are drilled besides. With ``prompts=0`` the batch has pixels
    and cells only.
    """
    pixels, rows, phrases, boxes, labels, truth_boxes, truth_masks, cells = [], [], [], [], [], [], [], []
    for row, drawn in enumerate(scenes):
        image, cover, grid, place = drawn.image, drawn.cover, drawn.cells, drawn.boxes
        if rng.random() < 0.5:
            image, cover, grid = image[:, ::-1], cover[..., ::-1], grid[..., ::-1]
            place = place * np.float32([-1, 1, 1, 1]) + np.float32([1, 0, 0, 0])
        light = np.float32(rng.uniform(0.9, 1.1)) * rng.uniform(0.96, 1.04, 3).astype(np.float32)
        pixels.append((image.astype(np.float32) * light).clip(0, 255) / 127.5 - 1)
        cells.append(np.ascontiguousarray(grid))
        if not prompts:
            continue
        cover, place = torch.from_numpy(cover.astype(np.float32) / 255), torch.from_numpy(place.astype(np.float32))
        for question in _questions(drawn.scene, rng, prompts, lessons):
            phrase, instances, box, label = _with_exemplars(question, place, rng)
            rows.append(row)
            phrases.append(phrase)
            boxes.append(box)
            labels.append(label)
            truth_boxes.append(place[list(instances)])
            truth_masks.append(cover[list(instances)])
    words = tokenizer(phrases or [""], padding="max_length", max_length=_TOKENS, truncation=True, return_tensors="pt")
    return Batch(
        torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last),
        torch.tensor(rows, dtype=torch.long), words.input_ids, words.attention_mask,
        torch.stack(boxes or [torch.zeros(_EXEMPLARS, 4)]), torch.stack(labels or [torch.zeros(_EXEMPLARS)]),
        truth_boxes, truth_masks, torch.from_numpy(np.stack(cells)).long(),
    )


def _choose(scene: Scene, rng: np.random.Generator, count: int) -> list[Prompt]:
    positive = count // 2
    strange = int(rng.random() < 0.4)
    chosen = scene_prompts(scene, rng, positive, count, count, strange)
    by_kind = {k: [p for p in chosen if p.kind == k] for k in ("positive", "hard", "easy", "never")}
    if by_kind["never"] and rng.random() < 0.3:  # any word at all that means nothing here
        letters = rng.integers(97, 123, size=int(rng.integers(3, 9)))
        by_kind["never"] = [Prompt("".join(map(chr, letters)), "never", ())]
    ranked = by_kind["positive"] + by_kind["never"] + by_kind["hard"][: count // 2] + by_kind["easy"]
    return ranked[:count]


def _questions(scene: Scene, rng: np.random.Generator, count: int, share: float) -> list[Prompt | Lesson]:
    """Prompts in words, some of which give way to lessons; with a large share, a drill first."""
    drilled = _drill(scene, rng) if share > DRILLED else []
    questions: list[Prompt | Lesson] = [*drilled][:count]
    for prompt in _choose(scene, rng, max(2, count - len(questions)))[: count - len(questions)]:
        lesson: Lesson | None = None
        if rng.random() < share:
            if prompt.kind == "positive":
                offered = scene_lessons(scene, rng)
                kinds = list(dict.fromkeys(o.kind for o in offered))
                kind = kinds[int(rng.integers(len(kinds)))]  # each as often, however many things allow it
                lesson = _any([o for o in offered if o.kind == kind], rng)
            elif prompt.kind == "hard":
                lesson = refusal(scene, prompt.phrase, rng)
        questions.append(lesson or prompt)
    return questions


def _drill(scene: Scene, rng: np.random.Generator) -> list[Prompt | Lesson]:
    """A noun that is there in several colours: asked, and asked again with one colour, and another, as what is not
    meant; and with an example besides. Nothing but what is pointed out tells these questions apart.
    """
    things = dict.fromkeys(o.thing for o in scene.objects)
    nouns = [noun for noun in dict.fromkeys(t.noun for t in things) if sum(t.noun == noun for t in things) > 1]
    if not nouns:
        return []
    noun = nouns[int(rng.integers(len(nouns)))]
    kinds = [t for t in things if t.noun == noun]
    order = rng.permutation(len(kinds))[:2]
    return [
        *(narrowing(scene, kinds[int(k)], rng) for k in order),
        Prompt(noun, "positive", tuple(scene.instances(noun))),
        narrowing(scene, kinds[int(order[0])], rng, example=True),
    ]


def _with_exemplars(
    question: Prompt | Lesson, place: torch.Tensor, rng: np.random.Generator
) -> tuple[str, tuple[int, ...], torch.Tensor, torch.Tensor]:
    """A question in words or as a lesson: phrase, instances, and the boxes that come with it."""
    box, label = torch.full((_EXEMPLARS, 4), -10.0), torch.full((_EXEMPLARS,), -10)
    if isinstance(question, Prompt):
        return reword(question.phrase, rng), question.instances, box, label
    for k, (i, positive) in enumerate(zip(question.shown, question.positive, strict=True)):
        jitter = torch.from_numpy(rng.normal(0, 0.03, 4).astype(np.float32)) * place[i][[2, 3, 2, 3]]
        box[k], label[k] = place[i] + jitter, int(positive)
    phrase = VISUAL if question.phrase is None else reword(question.phrase, rng)
    return phrase, question.instances, box, label


def _any(lessons: list[Lesson], rng: np.random.Generator) -> Lesson:
    return lessons[int(rng.integers(len(lessons)))]
