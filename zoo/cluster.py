"""The Ray cluster that work is given to: joined or started, looked at, and refused where it cannot do the work."""

from __future__ import annotations

import difflib
import importlib.util
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fiftyone as fo

from .engine.concepts import check_whole
from .engine.errors import ConceptError

#: ways to give work to other processes
WAYS = ("ray",)
#: of a cluster that is started here, for what travels: this package, and a few numbers
_STORE = 128 << 20
#: seconds in which a cluster answers that is there
_LISTENS = 5
_LOCAL = ("localhost", "127.", "::1", "0.0.0.0")


def has_ray() -> bool:
    """Whether ``distribute="ray"`` can be asked for."""
    return importlib.util.find_spec("ray") is not None


def check_distribute(distribute: Any, workers: Any = None) -> None:
    """Refuse what is no way to distribute.

    Args:
        distribute: what was said; ``None``: one process, this one
        workers: how many processes; ``None``: as many as there are GPUs, or cores

    Raises:
        ConceptError: an unknown way, one that is not installed, or ``workers`` of nothing
    """
    if workers is not None:
        check_whole(workers, "workers", 1)
        if distribute is None:
            raise ConceptError(f'workers={workers} are of a distributed run: say distribute="ray", too')
    if distribute is None:
        return
    if distribute not in WAYS:
        near = difflib.get_close_matches(str(distribute).casefold(), WAYS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(map(repr, WAYS))}, and None"
        raise ConceptError(f"distribute={distribute!r}: {hint}")
    if not has_ray():
        raise ConceptError(
            'distribute="ray" needs Ray: pip install -r requirements-ray.txt, which is pip install "ray>=2.50,<3"'
        )


@dataclass(frozen=True)
class Cluster:
    """What there is.

    Attributes:
        cpus, gpus: of all nodes
        elsewhere: addresses of nodes on other machines than this one
    """

    cpus: int
    gpus: int
    elsewhere: tuple[str, ...]

    def check_database(self) -> None:
        """Refuse a database that other machines cannot reach.

        Raises:
            ConceptError: says what to set
        """
        held = database()
        if self.elsewhere and all(host.startswith(_LOCAL) for host in _hosts(held["FIFTYONE_DATABASE_URI"])):
            own = "FiftyOne's own database" if fo.config.database_uri is None else "The database"
            raise ConceptError(
                f"{own} is on this machine alone ({held['FIFTYONE_DATABASE_URI']}), and the Ray cluster has nodes on "
                f"others ({', '.join(self.elsewhere[:3])}), which cannot reach it: run a MongoDB server that all nodes "
                "reach, and set FIFTYONE_DATABASE_URI to it before FiftyOne is imported"
            )


@contextmanager
def joined() -> Iterator[Cluster]:
    """The cluster: the one that this process has joined already, else the one at ``RAY_ADDRESS``, else one on this
    machine, that lasts as long as the work.
    """
    import ray

    ours = not ray.is_initialized()
    if ours:
        quiet = dict(log_to_driver=False, logging_level="error")
        if os.environ.get("RAY_ADDRESS"):
            check_reachable(os.environ["RAY_ADDRESS"])
            ray.init(**quiet)
        else:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(address="local", include_dashboard=False, object_store_memory=_STORE, **quiet)
    try:
        yield looked_at()
    finally:
        if ours:
            ray.shutdown()


def check_reachable(address: str) -> None:
    """Refuse an address where nobody listens: Ray would try for minutes, and not say where the address is from.

    Raises:
        ConceptError: naming it
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():  # "auto", "local"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_LISTENS).close()
    except OSError as error:
        raise ConceptError(
            f"RAY_ADDRESS is {address!r}, but there is no Ray cluster ({error}): start one, `ray start --head`, set it "
            "to where one is, or unset it, for workers on this machine"
        ) from None


def looked_at() -> Cluster:
    """The cluster that this process has joined."""
    import ray

    held = ray.cluster_resources()
    here = ray.util.get_node_ip_address()
    nodes = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    return Cluster(int(held.get("CPU", 0)), int(held.get("GPU", 0)), tuple(sorted(nodes - {here})))


def database() -> dict[str, str]:
    """The database of this process, as the environment of another one that is to use it."""
    import fiftyone.core.odm.database as food

    uri = fo.config.database_uri
    if uri is None:  # FiftyOne's own server, at a port of its choice
        host, port = food.get_db_client().address
        uri = f"mongodb://{host}:{port}"
    said = dict(
        FIFTYONE_DATABASE_URI=uri, FIFTYONE_DATABASE_NAME=fo.config.database_name,
        FIFTYONE_DATABASE_VALIDATION=str(fo.config.database_validation).lower(),
        FIFTYONE_DO_NOT_TRACK="true", FIFTYONE_SHOW_PROGRESS_BARS="false",
    )  # fmt: skip
    return said


def _hosts(uri: str) -> list[str]:
    """The machines that a database is on."""
    if uri.startswith("mongodb+srv://"):  # a name in the DNS, which is nobody's own machine
        return [uri.removeprefix("mongodb+srv://").rpartition("@")[2].split("/")[0]]
    from pymongo.uri_parser import parse_uri

    return [host for host, _ in parse_uri(uri, validate=False)["nodelist"]]
