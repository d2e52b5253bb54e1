"""Runs the tests: ``python -m scripts.tests [arguments of pytest]``.

In as many processes as there are cores, but for those that open the App in a browser: these come after the others, one
at a time. A browser that shares its cores with another one misses clicks.
"""

from __future__ import annotations

import subprocess
import sys

#: what is run, and with what
PARTS = {
    "without a browser": (
        "-n", "auto", "--dist", "loadfile", "--max-worker-restart", "1", "-m", "not full and not browser",
    ),
    "in a browser": ("-m", "browser and not full"),
}  # fmt: skip
#: pytest's word for: nothing was chosen
_NOTHING = 5


def main(arguments: list[str]) -> int:
    """Run both parts, whatever comes of the first; returns what pytest returned, of the first that failed."""
    codes = {}
    for name, options in PARTS.items():
        print(f"[tests] {name}", flush=True)
        codes[name] = subprocess.call([sys.executable, "-m", "pytest", *options, *arguments])
        if codes[name] == 2:  # interrupted
            return 2
    chosen = {name: code for name, code in codes.items() if code != _NOTHING}
    failed = {name: code for name, code in chosen.items() if code}
    for name in failed:
        print(f"[tests] {name}: FAILED, see above", flush=True)
    return next(iter(failed.values()), 0 if chosen else _NOTHING)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
