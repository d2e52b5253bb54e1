"""A large ledger without images, and how long questions to it take."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
from bson import ObjectId
from fiftyone import ViewField as F
from fiftyone.operators.executor import ExecutionContext

from curation import presence
from curation.answers import read_answers
from curation.hard_negatives import as_view, find_hard_negatives
from curation.overview import companions, overview
from curation.thresholds import find_thresholds
from zoo.engine.concepts import parse_concepts
from zoo.ledger import Ledger, declare, field_of
from zoo.provenance import start_run

PANEL = "@concepts/sam3/concepts"
_PAGE = 20  # samples the App asks for at first


def large_ledger(samples: int, concepts: int, seed: int = 0) -> fo.Dataset:
    """A dataset of so many samples without images, each asked so many concepts; a few instances, as boxes.

    A concept is in one sample of twelve; presence separates well, with a tail. Documents are put into the database
    directly, as copies of one that FiftyOne made.
    """
    rng = np.random.default_rng([seed, 0x1ED6E])
    names = [f"concept {k}" for k in range(concepts)]
    dataset = fo.Dataset(fo.core.dataset.make_unique_dataset_name("ledger-benchmark"))
    ledger = Ledger()
    declare(dataset, ledger, names, "sam3")
    start_run(dataset, ledger, parse_concepts(names), {"confidence_thresh": 0.5})
    first = fo.Detection(label=names[0], bounding_box=[0.1, 0.1, 0.2, 0.2], confidence=0.9, presence=0.9)
    dataset.add_sample(fo.Sample(
        filepath="/nowhere/0.jpg", ground_truth=fo.Detections(detections=[first.copy()]),
        sam3=fo.Detections(detections=[first]),
    ))  # fmt: skip
    collection = dataset._sample_collection
    template = collection.find_one()
    collection.delete_many({})
    fields = [field_of(name) for name in names]
    for start in range(0, samples, 5000):
        count = min(5000, samples - start)
        there = rng.random((count, concepts)) < 1 / 12
        score = np.where(there, rng.beta(8, 1, there.shape), rng.beta(0.3, 6, there.shape)).round(6)
        documents = []
        for k in range(count):
            document = dict(template, _id=ObjectId(), filepath=f"/nowhere/{start + k}.jpg")
            for field, row in (
                (ledger.presence, score[k]), (ledger.score, np.sqrt(score[k])), (ledger.count, (score[k] > 0.5) * 1),
            ):  # fmt: skip
                document[field] = {"_cls": "DynamicEmbeddedDocument", **dict(zip(fields, row.tolist(), strict=True))}
            for field, chosen in (("ground_truth", there[k]), ("sam3", score[k] > 0.5)):
                label = template[field]["detections"][0]
                held = [dict(label, _id=ObjectId(), label=names[j]) for j in np.flatnonzero(chosen).tolist()]
                document[field] = {"_cls": "Detections", "detections": held}
            documents.append(document)
        collection.insert_many(documents)
    dataset.reload()
    return dataset


def questions(dataset: fo.Dataset) -> dict[str, Callable[[], Any]]:
    """What people ask, each as the App would ask it: how many, and the first page."""

    def shown(view: fo.DatasetView) -> int:
        view.limit(_PAGE).values("id")
        return len(view)

    one, two, three = "concept 3", "concept 4", "concept 5"
    asked: dict[str, Callable[[], Any]] = {
        name: (lambda query=query: shown(query(dataset, one)))
        for name, (_, query) in presence.QUERIES.items() if name != "rich"
    }  # fmt: skip
    asked["rich"] = lambda: shown(presence.rich(dataset, one, at_least=1))
    asked["present, absent, in doubt"] = lambda: shown(
        presence.where(dataset, present=[one], absent=[two], uncertain=[three])
    )
    asked["hard negatives of a concept"] = lambda: shown(as_view(dataset, one))
    errors = dataset.match(F("made_up_missing") > 0.5).sort_by("made_up_missing", reverse=True)
    asked["label errors"] = lambda: shown(errors)
    return asked


def measure(samples: int, concepts: int, repeats: int = 3) -> dict[str, Any]:
    """Wall seconds of each question, of each run that finds something, and of the panel; medians."""
    start = time.perf_counter()
    dataset = large_ledger(samples, concepts)
    try:
        built = time.perf_counter() - start
        runs = {
            "read every presence": lambda: (touch(dataset), read_answers(dataset, kinds=())),
            "counts of a concept": lambda: (
                touch(dataset), overview(read_answers(dataset, concepts=["concept 3"]), "concept 3"),
                companions(dataset, "concept 3"),
            ),
            "find hard negatives": lambda: find_hard_negatives(
                dataset, None, "ground_truth", exhaustive=True, progress=False
            ),
            "find thresholds": lambda: find_thresholds(dataset, "ground_truth", exhaustive=True),
        }  # fmt: skip
        found = {name: timed(run, 1 if name.startswith("find") else repeats) for name, run in runs.items()}
        dataset.set_values("made_up_missing", np.random.default_rng(0).random(samples).round(4).tolist())
        asked = {name: timed(run, repeats) for name, run in questions(dataset).items()}
        shown = panel(dataset, repeats)
    finally:
        dataset.delete()
    return dict(samples=samples, concepts=concepts, built=built, queries=asked, runs=found, panel=shown)


def touch(dataset: fo.Dataset) -> None:
    """Change a sample, so that what was read is not taken from memory."""
    sample = dataset.first()
    sample["touched"] = time.time()
    sample.save()


def panel(dataset: fo.Dataset, repeats: int) -> dict[str, float]:
    """Seconds of a refresh of the panel, each tab: when it is opened, and when the threshold is dragged."""
    operator = foo.get_operator(PANEL)

    def event(method: str, state: dict[str, Any], **params: Any) -> None:
        request = dict(
            dataset_name=dataset.name, panel_id="benchmark",
            params=dict(params, __method__=method, panel_state=state, panel_id="benchmark"),
        )  # fmt: skip
        request["params"]["panel_state"] = state
        ctx = ExecutionContext(operator_uri=PANEL, request_params=request, executor=foo.executor.Executor())
        operator.execute(ctx)

    def opened(tab: str) -> None:
        touch(dataset)
        event("on_load", dict(concept="concept 3", tab=tab))

    found = {f"open {tab}": timed(lambda tab=tab: opened(tab), repeats) for tab in _TABS}
    found["drag the threshold"] = timed(
        lambda: event("on_threshold", dict(concept="concept 3", tab="presence"), value=0.4), repeats
    )
    return found


def timed(run: Callable[[], Any], repeats: int) -> float:
    """Median wall seconds; the database is another process, so CPU time would not count it."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        spent.append(time.perf_counter() - start)
    return median(spent)


_TABS = ("presence", "negatives", "errors", "confusions", "thresholds")
os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "true")
