"""What concepts on videos cost, beside stock transformers: ``python -m benchmarks.video [--json FILE]``.

Memory first: one long stream through one session. Then speed, in one run with one thread, repeats interleaved so that a
slow minute of the machine hits all alike. Times are CPU time of the process. README.md in this folder says what is
compared, and why. In the JSON, memory is in MB (10^6 bytes) and times in milliseconds a frame:

``machine``
    what it ran on
``memory``
    ``marks``: per frame of interest ``frame``, ``rss_mb`` (resident memory), ``state_bytes`` (the tracks' memory) and
    ``objects`` followed; ``growth``: resident memory at frame ``to`` over that at frame ``since``, and in
    ``bytes_per_frame``; ``state_bytes_per_object`` at the end; ``phrases`` asked; and ``stock``, measured over
    ``frames`` frames with ``objects`` objects: ``bytes_per_object_and_frame`` and ``bytes_per_frame`` (the preprocessed
    video) that its session keeps, and ``mb_at_the_end``, what both would come to at frame ``to`` of the stream
``speed``
    ``rows``: per way ``name``, ``concepts``, ``objects`` (followed) and ``shown`` (masks), both a frame, ``ms``;
    ``three_to_one``: three concepts over one, with as many objects; ``three_to_fewer``: over one of them alone, with
    its own objects only; ``speed_up``: transformers over ours, three concepts; ``parts``: ``encode``, ``detect``,
    ``follow`` and ``rest`` of ours; ``frames`` and ``repeats``
``grid``
    ``rows``: per number of ``objects`` in sight, ``concepts`` asked, and ``detect_every``: ``ms``, ``fps``, and the
    objects ``followed``, a frame; ``frames``, each once
"""

from __future__ import annotations

import argparse
import gc
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from torch import Tensor

from .measuring import described, machine, one_thread, seconds, verdict
from .sides import EACH, EVERY, ROUND, Ours, Stock, stream

#: frames of interest of the long stream, and the one that growth counts from: the memory is full, and nothing is new
_MARKS, _SINCE = (100, 500, 1000, 2000, 5000), 500

TARGETS = {"growth": 1.05, "three_to_one": 1.5, "speed_up": 2.0}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write JSON where asked."""
    from zoo.engine.checkpoint import TINY

    parser = argparse.ArgumentParser(prog="python -m benchmarks.video", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--checkpoint", default=str(TINY), help="hub id or folder (default: the small one that ships)")
    parser.add_argument("--frames", type=int, default=5000, help="of the long stream")
    parser.add_argument("--clip", type=int, default=ROUND, help="frames of the clip that is timed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--grid", type=int, default=20, help="frames of each cell of the last table; 0 leaves it out")
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 2, 4, 8], help="in that table")
    args = parser.parse_args(argv)
    with one_thread():
        tracker, stock = Ours(args.checkpoint), Stock(args.checkpoint)
        report = {
            "machine": machine(),
            "memory": measure_memory(tracker, stock, args.frames, min(args.clip, 40)),
            "speed": measure_speed(tracker, stock, args.clip, args.repeats),
            "grid": measure_grid(tracker, args.grid, args.objects),
        }
    print(tables(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


# ------------------------------------------------------------------------------------------------- (a) memory


def measure_memory(ours: Ours, stock: Stock, count: int, stock_frames: int) -> dict[str, Any]:
    """What ``count`` frames of a stream leave in memory, with one of the concepts; beside it, transformers' growth."""
    import psutil

    process, session, phrases = psutil.Process(), ours.session(EACH[:1]), EACH[:1]
    marks = []
    due = sorted({mark for mark in _MARKS if mark < count} | {count})
    for number, image in stream(count):
        deque(session.advance(number, image), maxlen=0)
        if number in due:
            gc.collect()
            marks.append(
                dict(
                    frame=number, rss_mb=process.memory_info().rss / 1e6, state_bytes=session.state_bytes(),
                    objects=len(session.tracks),
                )
            )  # fmt: skip
    since = next((m for m in marks if m["frame"] == _SINCE), marks[0])
    last = marks[-1]
    return dict(
        phrases=list(phrases), marks=marks, since=since["frame"], to=last["frame"],
        growth=last["rss_mb"] / since["rss_mb"],
        bytes_per_frame=1e6 * (last["rss_mb"] - since["rss_mb"]) / max(1, last["frame"] - since["frame"]),
        state_bytes_per_object=last["state_bytes"] / max(1, last["objects"]),
        stock=stock_growth(stock, phrases, stock_frames, count),
    )  # fmt: skip


def stock_growth(stock: Stock, phrases: Sequence[str], count: int, target: int) -> dict[str, Any]:
    """What transformers' session keeps, from what it came to hold in the second half of ``count`` frames."""
    session, half = stock.session(phrases, count), count // 2
    deque(stock.model.propagate_in_video_iterator(session, 0, half - 1), maxlen=0)
    before = held(session)
    deque(stock.model.propagate_in_video_iterator(session, half), maxlen=0)
    objects, frame = len(session.obj_ids), session.get_frame(0).nbytes
    each = (held(session) - before) / ((count - half) * max(1, objects))
    return dict(
        frames=count, objects=objects, bytes_per_object_and_frame=each, bytes_per_frame=frame,
        mb_at_the_end=(each * objects + frame) * target / 1e6,
    )  # fmt: skip


def held(session: Any) -> int:
    """Bytes of all tensors in a session of transformers, shared memory once; without the video and its features."""
    state = {name: value for name, value in vars(session).items() if name not in ("processed_frames", "cache")}
    memory = (t.untyped_storage() for t in _tensors(state))
    return sum({m.data_ptr(): m.nbytes() for m in memory}.values())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)


# ------------------------------------------------------------------------------------------------- (b) speed


def measure_speed(ours: Ours, stock: Stock, count: int, repeats: int) -> dict[str, Any]:
    """Milliseconds a frame of the same ``count`` frames: one concept and three, and transformers."""
    ways = {
        "fewer": (ours, EACH[:1]), "one": (ours, EVERY), "three": (ours, EACH), "stock": (stock, EACH),
    }  # fmt: skip
    followed = {name: side.prepared(phrases, count)() for name, (side, phrases) in ways.items()}  # also warms up
    times: dict[str, list[float]] = {name: [] for name in ways}
    parts: list[dict[str, float]] = []
    for _ in range(repeats):
        for name, (side, phrases) in ways.items():
            run = side.prepared(phrases, count)
            if name != "three":
                times[name].append(1e3 * seconds(run) / count)
                continue
            with ours.timed() as spent:
                times[name].append(1e3 * seconds(run) / count)
            parts.append({part: 1e3 * value / count for part, value in spent.items()})
    cost = {name: median(values) for name, values in times.items()}
    inside = {part: median(p[part] for p in parts) for part in parts[0]}
    rows = [
        dict(name=name, concepts=len(phrases), objects=followed[name][0], shown=followed[name][1], ms=cost[name])
        for name, (_, phrases) in ways.items()
    ]
    return dict(
        rows=rows, frames=count, repeats=repeats, three_to_one=cost["three"] / cost["one"],
        three_to_fewer=cost["three"] / cost["fewer"], speed_up=cost["stock"] / cost["three"],
        parts=dict(inside, rest=cost["three"] - sum(inside.values())),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- (c) what it grows by


def measure_grid(ours: Ours, count: int, objects: Sequence[int]) -> dict[str, Any]:
    """Milliseconds a frame of ``count`` frames with more and more objects, of one concept and of three, where the
    detector looks at every frame and at every fourth.
    """
    rows = []
    for number in objects if count else ():
        for phrases in (EVERY, EACH):
            for every in (1, 4):
                run = ours.prepared(phrases, count, number, every)
                start = process_time()
                followed, _ = run()
                ms = 1e3 * (process_time() - start) / count
                cell = dict(objects=number, concepts=len(phrases), detect_every=every)
                rows.append(dict(cell, followed=followed, ms=ms, fps=1e3 / ms))
    return dict(rows=rows, frames=count)


# ------------------------------------------------------------------------------------------------- for people

_NAMES = {
    "fewer": "engine, one concept", "one": "engine, one concept", "three": "engine, three concepts",
    "stock": "transformers, three",
}


def tables(report: dict[str, Any]) -> str:
    """The report for people."""
    memory, speed = report["memory"], report["speed"]
    lines = [
        described(report["machine"]), "",
        f"One stream, {', '.join(memory['phrases'])}", "",
        f"{'frame':>8}{'resident MB':>14}{'objects':>10}{'their memory, MB':>19}",
    ]  # fmt: skip
    for mark in memory["marks"]:
        lines.append(
            f"{mark['frame']:>8}{mark['rss_mb']:>14.1f}{mark['objects']:>10}{mark['state_bytes'] / 1e6:>19.3f}"
        )
    theirs = memory["stock"]
    lines += [
        "",
        f"frame {memory['to']} / frame {memory['since']}: {memory['growth']:.3f}x"
        f"{verdict(memory['growth'], TARGETS['growth'], 'x')}, {memory['bytes_per_frame'] / 1e3:+.2f} kB a frame; "
        f"an object takes {memory['state_bytes_per_object'] / 1e3:.0f} kB",
        f"transformers' session keeps {theirs['bytes_per_object_and_frame'] / 1e3:.0f} kB an object and frame, and "
        f"{theirs['bytes_per_frame'] / 1e3:.0f} kB a frame (measured over {theirs['frames']} frames, "
        f"{theirs['objects']} objects): {theirs['mb_at_the_end']:.0f} MB at frame {memory['to']}",
        "",
        f"CPU ms a frame, {speed['frames']} frames (median of {speed['repeats']})", "",
        f"{'':<24}{'concepts':>10}{'followed':>10}{'shown':>8}{'ms':>9}",
    ]  # fmt: skip
    for row in speed["rows"]:
        lines.append(
            f"{_NAMES[row['name']]:<24}{row['concepts']:>10}{row['objects']:>10.1f}{row['shown']:>8.1f}{row['ms']:>9.1f}"
        )
    lines += [
        "",
        f"three concepts / one, the same objects: {speed['three_to_one']:.2f}x"
        f"{verdict(speed['three_to_one'], TARGETS['three_to_one'], 'x')}; "
        f"/ one with its own objects only: {speed['three_to_fewer']:.2f}x",
        f"transformers / engine: {speed['speed_up']:.2f}x"
        f"{verdict(speed['speed_up'], TARGETS['speed_up'], 'x', at_least=True)}",
        "engine, three concepts: " + ", ".join(f"{part} {ms:.1f}" for part, ms in speed["parts"].items()) + " ms",
    ]
    grid = report["grid"]
    if grid["rows"]:
        lines += [
            "", f"CPU ms a frame (frames a second), {grid['frames']} frames, each once", "",
            f"{'objects':>8}" + "".join(f"{name:>28}" for name in ("one concept", "three concepts")),
            f"{'':>8}" + 2 * f"{'each frame':>14}{'every 4th':>14}",
        ]  # fmt: skip
    for number in dict.fromkeys(row["objects"] for row in grid["rows"]):
        cells = [row for row in grid["rows"] if row["objects"] == number]
        lines.append(f"{number:>8}" + "".join(f"{c['ms']:>8.1f} ({c['fps']:.1f})".rjust(14) for c in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
