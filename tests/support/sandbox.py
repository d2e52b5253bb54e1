"""A private FiftyOne: its own database server, its own folders, nothing of the user's.

FiftyOne reads its environment when it is imported, so a sandbox must be started before that. A database *folder* of
one's own would not do: FiftyOne attaches to whatever database service the same user already runs, wherever its data
are. So the sandbox starts a server and names it in FIFTYONE_DATABASE_URI.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import processes

REPOSITORY = Path(__file__).resolve().parents[2]
#: of this process's own, where tests run in several
LOGS = REPOSITORY / "build" / "logs" / os.environ.get("PYTEST_XDIST_WORKER", "")

#: Run the tests on a server of your own. The tests use a database of their own on it, and drop it.
OWN_SERVER = "TEST_DATABASE_URI"


class Sandbox:
    """The private FiftyOne, as a context manager.

    Attributes:
        root: a temporary folder that holds everything, removed at the end
        uri: of the database server
        database: the name of the database
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="sam3-tests-"))
        self.database = f"sam3_tests_{os.getpid()}"
        self.uri = os.environ.get(OWN_SERVER, "")
        self._mongod: subprocess.Popen | None = None
        self._environment = dict(os.environ)

    def __enter__(self) -> Sandbox:
        if "fiftyone" in sys.modules:
            raise RuntimeError("FiftyOne was imported before its sandbox was started")
        try:
            if not self.uri:
                self._start_mongod()
            self._set_environment()
            self._link_plugin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._mongod:
            processes.stop(self._mongod)
        elif self.uri:
            import pymongo

            pymongo.MongoClient(self.uri).drop_database(self.database)
        os.environ.clear()
        os.environ.update(self._environment)
        shutil.rmtree(self.root, ignore_errors=True)

    def _start_mongod(self) -> None:
        data = self.root / "database"
        data.mkdir()
        log = self.root / "mongod.log"
        # It chooses a free port itself (0), and says which in its log once it is ready.
        command = [find_mongod(), "--dbpath", data, "--port", "0", "--bind_ip", "127.0.0.1", "--nounixsocket"]
        self._mongod = processes.start([*command, "--wiredTigerCacheSizeGB", "0.5"], log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._mongod.poll() is None:
            for line in log.read_text().splitlines():
                if '"Waiting for connections"' in line and line.endswith("}"):
                    self.uri = f"mongodb://127.0.0.1:{json.loads(line)['attr']['port']}"
                    return
            time.sleep(0.05)
        raise RuntimeError(f"mongod did not start:\n{processes.tail(log)}")

    def _set_environment(self) -> None:
        # A user's settings must not decide what the tests find.
        for name in [name for name in os.environ if name.startswith(("FIFTYONE_", "HF_"))]:
            del os.environ[name]
        folders = {
            "FIFTYONE_DATABASE_DIR": "database",
            "FIFTYONE_DATASET_ZOO_DIR": "dataset_zoo",
            "FIFTYONE_DEFAULT_DATASET_DIR": "datasets",
            "FIFTYONE_MODEL_ZOO_DIR": "model_zoo",
            "FIFTYONE_PLUGINS_DIR": "plugins",
            "HF_HOME": "huggingface",  # neither the user's cache nor the user's token
        }
        for variable, name in folders.items():
            folder = self.root / name
            folder.mkdir(exist_ok=True)
            os.environ[variable] = str(folder)
        for kind in ("", "APP_", "ANNOTATION_", "EVALUATION_"):  # files that need not exist
            os.environ[f"FIFTYONE_{kind}CONFIG_PATH"] = str(self.root / f"{kind.lower()}config.json")
        os.environ.update(
            FIFTYONE_DATABASE_URI=self.uri,
            FIFTYONE_DATABASE_NAME=self.database,
            FIFTYONE_DATABASE_VALIDATION="false",  # of versions: the packaged server is the oldest that is supported
            FIFTYONE_DO_NOT_TRACK="true",
            FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS="true",  # delegated operations, in the open-source App
            FIFTYONE_SHOW_PROGRESS_BARS="false",
            HF_HUB_DISABLE_TELEMETRY="1",
        )

    def _link_plugin(self) -> None:
        """Install the repository as the plugin ``@concepts/sam3``; FiftyOne follows links."""
        link = self.root / "plugins" / "@concepts" / "sam3"
        link.parent.mkdir()
        link.symlink_to(REPOSITORY, target_is_directory=True)


def find_mongod() -> Path:
    """FiftyOne's own server, else the one on PATH."""
    spec = importlib.util.find_spec("fiftyone")  # does not import it
    bundled = Path(spec.origin).parent / "db" / "bin" / "mongod" if spec and spec.origin else None
    if bundled and os.access(bundled, os.X_OK):
        return bundled
    on_path = shutil.which("mongod")
    if on_path is None:
        raise RuntimeError(
            "The tests start a MongoDB server of their own, and found no `mongod`: neither FiftyOne's nor one on PATH. "
            f"Run `make test`, which sees to it, or set {OWN_SERVER} to a server on which they may make a database."
        )
    return Path(on_path)
