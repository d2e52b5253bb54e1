"""All tables that need no GPU: ``python -m benchmarks.cpu [--json FILE]``, or ``make bench``.

Every section is a benchmark of its own in a process of its own, with settings that keep all of it below a quarter of an
hour on two cores; README.md in this folder has the settings of the published tables. A section that fails does not stop
the others, but the exit code says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .image import REPOSITORY


@dataclass(frozen=True)
class Section:
    """A benchmark: ``module`` in this folder, and its ``settings``."""

    module: str
    title: str
    settings: tuple[str, ...] = ()


SECTIONS = (
    Section("image", "Images × concepts, beside transformers", ("--scenes", "2", "--repeats", "3")),
    Section("vocabulary", "Large vocabularies", ("--repeats", "1")),
    Section("video", "Videos, beside transformers", ("--frames", "200", "--clip", "24", "--repeats", "1")),
    Section("pipeline", "From JPEGs to the database: time outside the model", ("--samples", "100")),
    Section("writing", "The writer alone"),
    Section("distributed", "Two actors of Ray, beside one process"),
    Section("soak", "A long run, killed and resumed", ("--samples", "1000", "--stub")),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sections, print their tables, and write JSON where asked.

    Returns:
        0, or 1 if a section failed
    """
    about = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpu", description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, section by section")
    parser.add_argument("--sections", nargs="+", choices=[s.module for s in SECTIONS], metavar="NAME",
                        help=f"some of {', '.join(s.module for s in SECTIONS)}")  # fmt: skip
    args = parser.parse_args(argv)
    report: dict[str, Any] = {}
    failed = []
    with tempfile.TemporaryDirectory(prefix="sam3-bench-") as home:
        for section in SECTIONS:
            if args.sections and section.module not in args.sections:
                continue
            numbers = run(section, Path(home))
            report[section.module] = numbers
            if "error" in numbers:
                failed.append(section.module)
            if args.json:
                args.json.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall sections ran", flush=True)
    return int(bool(failed))


def run(section: Section, home: Path) -> dict[str, Any]:
    """One section, its tables printed as they come.

    Args:
        section: to run
        home: a folder for its numbers

    Returns:
        its numbers; ``error``: why there are none; ``not_here``: this version lacks it
    """
    print(f"\n== {section.title} (python -m benchmarks.{section.module} {' '.join(section.settings)})", flush=True)
    if importlib.util.find_spec(f"benchmarks.{section.module}") is None:
        print("not in this version", flush=True)
        return dict(not_here=True)
    file, started = home / f"{section.module}.json", time.monotonic()
    command = [sys.executable, "-m", f"benchmarks.{section.module}", *section.settings, "--json", str(file)]
    code = subprocess.run(command, cwd=REPOSITORY).returncode
    print(f"({time.monotonic() - started:.0f} s)", flush=True)
    if code:
        print(f"FAILED with exit code {code}", flush=True)
        return dict(error=f"exit code {code}")
    return json.loads(file.read_text())


if __name__ == "__main__":
    sys.exit(main())
