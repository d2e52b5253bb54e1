"""What can be wrong, in one sentence that says what to do."""

from __future__ import annotations


class ConceptError(ValueError):
    """Something is wrong with the concepts asked for."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be had, or is not whole."""


class ImageError(ValueError):
    """One image cannot be read."""


class VideoError(ValueError):
    """A video, or a sequence of images, cannot be read as asked."""


class FrameError(VideoError):
    """One frame of a sequence of images cannot be used."""
