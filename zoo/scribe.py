"""Answers into the database, as raw documents: what FiftyOne would write, at a third of its time.

This file runs as a process of its own, too, which :mod:`writing` starts. It is a file and no module then: it must be
quick to start, and takes nothing of this package, nor FiftyOne, nor torch.
"""

from __future__ import annotations

import functools
import io
import os
import pickle
import signal
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pymongo
from bson import ObjectId, encode
from pymongo.errors import BulkWriteError

#: attributes of a label that hold verdicts, as reviews write them (``curation/verified.py``)
VERDICTS = ("verified", "verified_by", "verified_at", "ai_verified", "ai_verified_by", "ai_confidence")
#: an instance that is found again has the same box, but for pixels at its border
SAME = 0.9
#: why the answer of a sample is not in the database
GONE = "it is not in the dataset any more"

#: a label, and its box: ``(x, y, width, height)``, relative
Place = tuple[str, Sequence[float]]
Answer = Mapping[str, Any]


class Scribe:
    """Writes answers of samples of one dataset.

    Args:
        client: arguments of ``pymongo.MongoClient``
        database: its name
        collection: the name of the samples' collection
        label_field: where instances go
        instances: fields where earlier instances may be; the first that holds an answer counts
        numbers: the ledger's fields of presence, score and count, in this order
        error: the ledger's field for errors
        templates: ``labels``, ``label`` and ``numbers``: documents of FiftyOne's, to be completed
    """

    def __init__(
        self, client: Mapping[str, Any], database: str, collection: str, label_field: str, instances: Sequence[str],
        numbers: Sequence[str], error: str, templates: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._client = pymongo.MongoClient(**client)
        self._collection = self._client[database][collection]
        self._label_field, self._instances = label_field, list(instances)
        self._numbers, self._error, self._templates = list(numbers), error, templates
        self._most = 0  # bytes of a document
        self._wanted = dict.fromkeys([*self._instances, *self._numbers, error], 1)

    def write(self, answers: Sequence[Answer]) -> list[str | None]:
        """Write the answers of some samples, each of them whole or not at all.

        Args:
            answers: of each sample ``id``; ``error``, or ``None`` and: ``asked``, the labels whose instances were
                looked for; ``found``, attributes of each instance; ``numbers``, name -> presence, score and count

        Returns:
            for each, why it could not be written, which is then its error in the database, or ``None``
        """
        ids = [ObjectId(answer["id"]) for answer in answers]
        held = {before["_id"]: before for before in self._collection.find({"_id": {"$in": ids}}, self._wanted)}
        refused = {k: GONE for k, sample in enumerate(ids) if sample not in held}
        updates = {k: self._update(answers[k], held[ids[k]]) for k in range(len(ids)) if k not in refused}
        wrong = self._send(ids, updates)
        # of a document that is as large as can be, not even that can be said
        self._send(ids, {k: _now({"$set": {self._error: reason}}) for k, reason in wrong.items()})
        refused |= wrong
        return [refused.get(k) for k in range(len(ids))]

    def close(self) -> None:
        """Leave the database."""
        self._client.close()

    def _update(self, answer: Answer, before: Mapping[str, Any]) -> dict[str, Any]:
        if answer["error"] is not None:
            return _now({"$set": {self._error: answer["error"]}})
        earlier = next((before[name] for name in self._instances if before.get(name) is not None), {})
        old = earlier.get("detections") or []
        asked = set(answer["asked"])
        found = [self._label(attributes) for attributes in answer["found"]]
        labels = [*(label for label in old if label.get("label") not in asked), *_carried(old, asked, found)]
        changes = {self._label_field: {**self._templates["labels"], "detections": labels}}
        for place, name in enumerate(self._numbers):
            known = before.get(name) or {}
            new = {concept: numbers[place] for concept, numbers in answer["numbers"].items()}
            changes[name] = {**self._templates["numbers"], **known, **new}
        mended = {"$unset": {self._error: ""}} if before.get(self._error) is not None else {}
        return _now({"$set": changes, **mended})

    def _label(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._templates["label"], **attributes, "_id": ObjectId(), "mask": packed(attributes["mask"])}

    def _send(self, ids: Sequence[ObjectId], updates: Mapping[int, dict[str, Any]]) -> dict[int, str]:
        """Place -> why an update was refused."""
        self._most = self._most or self._client.admin.command("hello")["maxBsonObjectSize"]
        refused, operations = {}, {}
        for k, update in updates.items():
            try:
                size = len(encode(update))
            except Exception as error:  # whatever it is, it must cost one sample and be recorded there
                refused[k] = f"{type(error).__name__}: {error}"
                continue
            if size > self._most:
                refused[k] = _too_large(size, self._most)
            else:
                operations[k] = pymongo.UpdateOne({"_id": ids[k]}, update)
        if operations:
            try:
                self._collection.bulk_write(list(operations.values()), ordered=False)
            except BulkWriteError as error:
                wrong = error.details.get("writeErrors")
                if not wrong:
                    raise
                places = list(operations)
                refused |= {places[one["index"]]: f"MongoDB refused it: {one['errmsg']}" for one in wrong}
        return refused


def packed(mask: np.ndarray) -> bytes:
    """A mask as FiftyOne stores it, byte for byte: what ``np.save`` writes, deflated."""
    if mask.flags.c_contiguous or not mask.flags.f_contiguous:
        return zlib.compress(_header(mask.shape, mask.dtype.str) + mask.tobytes())
    with io.BytesIO() as file:
        np.save(file, mask, allow_pickle=False)
        return zlib.compress(file.getvalue())


@functools.lru_cache(maxsize=65_536)
def _header(shape: tuple[int, ...], kind: str) -> bytes:
    """What ``np.save`` writes in front of an array's elements; it takes its time to compose that."""
    with io.BytesIO() as file:
        empty = np.empty(shape, kind)
        np.save(file, empty, allow_pickle=False)
        return file.getvalue()[: -empty.nbytes or None]


def successor(old: Place, found: Sequence[Place], taken: Iterable[int]) -> int | None:
    """Which of the instances ``found`` now is one that was found before; those ``taken`` are others already."""
    taken = set(taken)
    same = [
        (_iou(old[1], place), -k) for k, (label, place) in enumerate(found) if label == old[0] and k not in taken
    ]
    overlap, place = max(same, default=(0.0, 0))
    return -place if overlap >= SAME else None


def _carried(old: Sequence[Mapping[str, Any]], asked: set[str], found: list[dict[str, Any]]) -> list[Any]:
    """As :func:`verdicts.carried`, of raw documents."""
    places: list[Place] = []
    taken: set[int] = set()
    stay = []
    for label in old:
        said = {name: label[name] for name in VERDICTS if label.get(name) is not None}
        if not said or label.get("label") not in asked:
            continue
        places = places or [(new["label"], new["bounding_box"]) for new in found]
        place = successor((label["label"], label["bounding_box"]), places, taken)
        if place is not None:
            taken.add(place)
            found[place] = {**found[place], "_id": label["_id"], **said}
        elif said.get("verified") is True:
            stay.append(label)
    return [*found, *stay]


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes ``(x, y, width, height)``; 0 where both are empty."""
    ax1, ay1, bx1, by1 = a[0] + a[2], a[1] + a[3], b[0] + b[2], b[1] + b[3]
    both = max(0.0, min(ax1, bx1) - max(a[0], b[0])) * max(0.0, min(ay1, by1) - max(a[1], b[1]))
    either = (ax1 - a[0]) * (ay1 - a[1]) + (bx1 - b[0]) * (by1 - b[1]) - both
    return both / either if either > 0 else 0.0


def _now(update: dict[str, Any]) -> dict[str, Any]:
    update["$set"]["last_modified_at"] = datetime.now(timezone.utc)
    return update


def _too_large(size: int, most: int) -> str:
    return (
        f"Its labels take {size / 2**20:.1f} MB, and a document of MongoDB holds {most / 2**20:.0f}: ask fewer "
        "concepts, or raise the threshold"
    )


def _serve() -> None:
    """Take orders from whoever started this process, until there is nobody any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever is interrupted tells us, once its answers are written
    orders, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that is printed may get among the replies
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    scribe = None
    while True:
        try:
            order = pickle.load(orders)
        except EOFError:
            return
        if order is None:
            return
        try:
            if scribe is None:
                scribe = Scribe(**order)
                continue
            reply = scribe.write(order), None
        except Exception as error:
            reply = None, f"{type(error).__name__}: {error}"
        pickle.dump(reply, replies, protocol=5)
        replies.flush()


def _watch(parent: int) -> None:
    """End with the process that started this one. The end of the pipe says so, too, unless that was forked."""
    while os.name != "posix" or os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    _serve()
