"""A mask as one polygon, which is all that YOLO has: holes and parts are joined to it by seams without width.

Corners are pixels, as OpenCV has contours. Where a polygon is filled by the rule of odd crossings, as OpenCV, and
so Ultralytics, fill one, holes stay open: it runs into them along a seam, and out again along the same. Only a seam
between two parts leaves something, a line of one pixel.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

#: of a mask in more pieces than this, holes among them, the largest are kept
MOST_RINGS = 64


def to_polygon(mask: NDArray[np.uint8], tolerance: float = 0.0) -> NDArray[np.int64]:
    """The corners of a mask.

    Args:
        mask: (h, w), 1 inside; there is some inside.
        tolerance: how far, in pixels, corners may be moved so that there are fewer.

    Returns:
        (P, 2) x and y of pixels, at least 3 of them; the last is joined to the first.
    """
    found, _ = cv2.findContours(np.ascontiguousarray(mask, dtype=np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [ring[:, 0].astype(np.int64) for ring in found]
    if tolerance:
        rings = [cv2.approxPolyDP(ring.astype(np.int32), tolerance, True)[:, 0].astype(np.int64) for ring in rings]
    if len(rings) > MOST_RINGS:
        rings = sorted(rings, key=lambda ring: -len(ring))[:MOST_RINGS]
    corners = _straightened(_joined(rings))
    return np.concatenate([corners, np.repeat(corners[-1:], max(3 - len(corners), 0), axis=0)])


def fill(corners: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(h, w) the mask that a polygon is, filled as OpenCV does it; ``corners`` are (P, 2) pixels."""
    return cv2.fillPoly(np.zeros(size, np.uint8), [corners.astype(np.int32)], 1)


def to_shares(corners: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.float64]:
    """(P, 2) corners as shares of an image of ``size``, (height, width): pixel 3 of 10 is 0.325.

    A quarter of a pixel further in, the corner is found again by whoever cuts decimals off, as Ultralytics, and by
    whoever rounds them, as FiftyOne. What is one pixel wide or high is given some width, because readers divide by it;
    whoever rounds sees two pixels there.
    """
    moved = corners + 0.25
    thin = np.ptp(corners, axis=0) == 0
    if thin.any():
        there, back = moved.copy(), moved[::-1].copy()
        there[:, thin], back[:, thin] = corners[:, thin] + 0.1, corners[::-1][:, thin] + 0.75
        moved = np.concatenate([there, back])
    return moved / np.array(size[::-1])


def _joined(rings: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """One closed polygon through all rings, each entered and left at the same corner: a tree of shortest seams."""
    if len(rings) == 1:
        return rings[0]
    trees = [cKDTree(ring) for ring in rings]
    best = [(np.inf, 0, 0, 0)] * len(rings)  # how far, from which ring, from which corner, to which
    seams: dict[int, list[tuple[int, int, int]]] = {k: [] for k in range(len(rings))}
    reached, latest = {0}, 0
    while len(reached) < len(rings):
        for k in set(range(len(rings))) - reached:
            far, corner = trees[latest].query(rings[k])
            mine = int(np.argmin(far))
            best[k] = min(best[k], (float(far[mine]), latest, int(corner[mine]), mine))
        latest = min(set(range(len(rings))) - reached, key=lambda k: (best[k][0], k))
        _, parent, corner, mine = best[latest]
        seams[parent].append((corner, latest, mine))
        reached.add(latest)
    path: list[NDArray[np.int64]] = []
    _walk(0, 0, rings, seams, path)
    return np.concatenate(path)


def _walk(
    ring: int, start: int, rings: list[NDArray[np.int64]], seams: dict[int, list[tuple[int, int, int]]],
    path: list[NDArray[np.int64]],
) -> None:  # fmt: skip
    """Around a ring from a corner back to it, with a detour at each seam."""
    corners = np.concatenate([rings[ring][start:], rings[ring][: start + 1]])
    at = 0
    for corner, child, mine in sorted(seams[ring], key=lambda seam: ((seam[0] - start) % len(rings[ring]), seam[1])):
        stop = (corner - start) % len(rings[ring])
        path.append(corners[at : stop + 1])
        _walk(child, mine, rings, seams, path)
        at = stop  # back where the detour began
    path.append(corners[at:])


def _straightened(corners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without the corners that lie on the way between their neighbours: lines through them hit the same pixels."""
    corners = corners[(corners != np.roll(corners, 1, axis=0)).any(axis=1) | (len(corners) == 1)]
    if len(corners) < 3:
        return corners if len(corners) else np.zeros((0, 2), np.int64)
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    idle = (before == after).all(axis=1) & (abs(before).max(axis=1) <= 1)
    return corners[~idle]
