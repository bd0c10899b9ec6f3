"""Serve the page of one or two collections until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe

import uvicorn

from viewkin.explorer.app import Pages, application
from viewkin.explorer.findings import FindingLists
from viewkin.explorer.jobs import JobReporter
from viewkin.explorer.security import LOOPBACK, Access, Guard, hosts_of
from viewkin.explorer.shown_collection import ShownCollection
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.places import why_not
from viewkin.runtime.progress import reporter, reporting_to

PORT = 8470
"""First port that is tried."""
TRIED = 20
"""Ports that are tried where none is named."""


@dataclass(frozen=True, kw_only=True)
class ExploreRequest:
    """What to show, and at which address."""

    collections: Sequence[Path]
    """One collection, or two to compare."""
    models: Sequence[str] = ()
    """Where their models are, in the same order; fewer: the others are where they were."""
    columns: Sequence[Path] = ()
    """Files of further columns to colour by, each with a column ``key``."""
    map: str = "auto"
    """``auto``, ``tsne``, ``umap`` or ``pca``."""
    host: str = "127.0.0.1"
    """Address of this machine to answer at."""
    port: int | None = None
    """Port; 0: any that is free; None: the first that is free from 8470 on."""
    open_to_network: bool = False
    """Allow a host that other machines reach."""
    token: bool = False
    """Ask for a token also where only this machine reaches the page."""
    device: str = "auto"
    """``cpu``, ``cuda`` or ``auto``."""


class Page:
    """A page that is ready to be served. :meth:`run` serves it until :meth:`stop` or a signal."""

    def __init__(self, request: ExploreRequest) -> None:
        """Open the collections and take the port.

        Raises:
            UserError: a collection that cannot be shown, a host that is not allowed, or a port that is taken.
        """
        loopback = request.host in LOOPBACK
        if not loopback and not request.open_to_network:
            raise UserError(
                f"--host {request.host} lets other machines see the images: add --open-to-network if you want that, "
                "or forward a port by ssh -L."
            )
        self.collections = opened(request)
        self._socket = _bound(request.host, request.port)
        port = self._socket.getsockname()[1]
        token = token_urlsafe(24) if request.token or not loopback else None
        self.open_to_network = not loopback
        """Whether other machines reach it."""
        self.address = f"http://{_named(request.host)}:{port}/" + (f"?token={token}" if token else "")
        """What to open in a browser."""
        models = [*request.models, *[None] * len(self.collections)]
        self._findings = [FindingLists(one, model, request.device) for one, model in zip(self.collections, models)]
        guard = Guard(application(Pages(self.collections, self._findings)), Access(hosts_of(request.host, port), token))
        config = uvicorn.Config(
            guard,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Serve until it is stopped, or until a signal, which reaches the caller once the server has ended.

        The server takes signals itself: an exception of the caller's handler would be lost in the answer to a request.
        """
        with reporting_to(JobReporter(reporter())):
            for one in self.collections:
                one.map.job.start()
            try:
                self._server.run(sockets=[self._socket])
            finally:
                self._socket.close()
                for one in self.collections:
                    one.map.job.stop()
                for one in self._findings:
                    one.stop()

    def stop(self) -> None:
        """End :meth:`run`, from another thread."""
        self._server.should_exit = True


def opened(request: ExploreRequest) -> list[ShownCollection]:
    """Open the collections of a request.

    Raises:
        UserError: none or more than two, one that cannot be shown, or a file of columns that fits none.
    """
    require(1 <= len(request.collections) <= 2, "The number of collections", len(request.collections), "1 or 2")
    models = [*request.models, *[None] * len(request.collections)]
    return [
        ShownCollection(folder, model=model, device=request.device, wanted_map=request.map, columns=request.columns)
        for folder, model in zip(request.collections, models)
    ]


def _bound(host: str, port: int | None) -> socket.socket:
    """Take a port.

    Raises:
        UserError: it is taken, or the host is none of this machine.
    """
    require(port is None or 0 <= port < 65536, "--port", port, "0 to 65535")
    error: OSError | None = None
    for tried in range(PORT, PORT + TRIED) if port is None else (port,):
        taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((host, tried))
            taken.listen(128)
            return taken
        except OSError as refused:
            taken.close()
            error = refused
    ports = f"{PORT} to {PORT + TRIED - 1}" if port is None else str(port)
    raise UserError(
        f"{host} cannot be served at port {ports} ({why_not(error) if error else ''}): name another by --port, or 0 "
        "for any that is free."
    )


def _named(host: str) -> str:
    """Write a host in an address; one that stands for all networks by this machine's name."""
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
