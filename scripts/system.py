"""What pip cannot install: a browser and ffmpeg for the tests, now and then a library.

What is there is used. What is missing is installed on Debian and Ubuntu where that is allowed without asking (as root,
or with a sudo that wants no password). Everywhere else one line says what to run: a missing part is no reason to stop.

Standard library only, and for any Python from 3.8: this runs before there is an environment.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / "build" / "setup.log"

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
# Where `playwright install chromium` puts its own.
PLAYWRIGHT_BROWSERS = (
    ".cache/ms-playwright/chromium-*/chrome-linux*/chrome",
    "Library/Caches/ms-playwright/chromium-*/chrome-mac*/*.app/Contents/MacOS/*",
)


def say(message):
    """One line a step, at once even when the output is a pipe."""
    print(f"[setup] {message}", flush=True)


def runs(*command):
    """Whether a command runs. Being found on PATH is not enough: there are stand-ins that only print advice."""
    try:
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def logged(command):
    """Run a command, its output in the log, its latest line on the terminal; returns whether it succeeded."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    live = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns - 1
    with LOG.open("a", encoding="utf-8") as log:
        log.write("\n$ " + " ".join(shlex.quote(str(part)) for part in command) + "\n")
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        for line in process.stdout:
            log.write(line)
            if live:
                print("\r" + line.strip()[:width].ljust(width), end="", flush=True)
    if live:
        print("\r" + " " * width + "\r", end="", flush=True)
    return process.wait() == 0


def log_tail(lines=25):
    """The end of the log, for when something failed."""
    return "\n".join(LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def distribution():
    """"debian", "ubuntu", or "" for everything else; derivatives count as what they derive from."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    names = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
    return next((name for name in names if name in ("debian", "ubuntu")), "")


def apt_install(packages):
    """Install Debian packages if we may; returns whether it was done."""
    if not (distribution() and shutil.which("apt-get")):
        return False
    become = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if become and not runs("sudo", "-n", "true"):
        return False
    say(f"installing {', '.join(packages)} (apt-get)")
    apt = [*become, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    # A stale or half-reachable index is not fatal by itself: the install tells.
    logged([*apt, "update"])
    return logged([*apt, "install", "-y", "--no-install-recommends", *packages])


def apt_line(packages):
    """The line for a person to run."""
    return f"sudo apt-get install -y --no-install-recommends {' '.join(packages)}"


def find_browser():
    """The Chromium or Chrome to test with (the variable CHROME comes first), or None."""
    if os.environ.get("CHROME"):
        return shutil.which(os.environ["CHROME"])  # asked for: nothing else will do
    found = [shutil.which(name) for name in BROWSERS]
    found += [str(path) for pattern in PLAYWRIGHT_BROWSERS for path in sorted(Path.home().glob(pattern), reverse=True)]
    return next((path for path in found if path and runs(path, "--version")), None)


def find_ffmpeg():
    """Where ffmpeg is, if ffprobe is there as well; FiftyOne reads every video with the two of them."""
    return shutil.which("ffmpeg") if shutil.which("ffprobe") else None


def find_driver():
    """Playwright's driver, a Node.js in its wheel, if it runs; it needs a library that small systems lack."""
    drivers = (ROOT / os.environ.get("VENV", ".venv")).glob("lib/python*/site-packages/playwright/driver/node")
    return next((str(path) for path in drivers if runs(path, "--version")), None)


class Part(NamedTuple):
    """Something a test needs from the system."""

    name: str
    purpose: str
    find: Callable
    packages: dict[str, str]  # by distribution
    elsewhere: str  # what to do on any other system, and where the package turned out to be of no use


PARTS = (
    Part(
        "Chromium or Chrome",
        "the browser tests",
        find_browser,
        {"debian": "chromium", "ubuntu": "chromium-browser"},
        "install either of them, or run: {python} -m playwright install --with-deps chromium",
    ),
    Part(
        "libatomic",
        "the browser tests",
        find_driver,
        {"debian": "libatomic1", "ubuntu": "libatomic1"},
        "install the package of your system that has libatomic.so.1",
    ),
    Part(
        "ffmpeg",
        "everything on video",
        find_ffmpeg,
        {"debian": "ffmpeg", "ubuntu": "ffmpeg"},
        "install ffmpeg with ffprobe (macOS: brew install ffmpeg)",
    ),
)


def main(wanted=()):
    """Install what is missing (of the parts ``wanted``, or of all), or say how."""
    missing = [part for part in PARTS if not part.find() and (not wanted or part.name in wanted)]
    if not missing:
        return
    system = distribution()
    packages = [part.packages[system] for part in missing if system in part.packages]
    installed = apt_install(packages)
    python = os.path.join(os.environ.get("VENV", ".venv"), "bin", "python")
    for part in missing:
        if installed and part.find():
            continue
        by_apt = system in part.packages and not installed
        advice = f"run: {apt_line([part.packages[system]])}" if by_apt else part.elsewhere.format(python=python)
        say(f"{part.name} is missing, and {part.purpose} need it; {advice}")


if __name__ == "__main__":
    main(sys.argv[1:])
