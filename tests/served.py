"""A page of ``viewkin explore`` that is served in a thread of the test's process, and plain requests to it."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from collected import pictures
from commandline import TINY, viewkin
from viewkin.explorer.server import ExploreRequest, Page

CLASSES = ("cat", "dog", "eel")
IMAGES = 72
COPY = "cat/copy of 000.jpg"
"""Key of an image that has the bytes of another."""


@dataclass
class Answer:
    """What a request was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def served(*collections: Path, **options: Any) -> Generator[Page]:
    """Serve collections as long as the block."""
    page = Page(ExploreRequest(collections=collections, port=0, device="cpu", **options))
    thread = Thread(target=page.run)
    thread.start()
    try:
        yield page
    finally:
        page.stop()
        thread.join(30)
        assert not thread.is_alive()


def ask(page: Page, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    """Send a request as it is; ``Sec_Fetch_Site="none"`` is the header Sec-Fetch-Site."""
    host = urlsplit(page.address).netloc
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if body is not None and "Content_Length" not in headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        if body is not None:
            connection.send(body)
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def post(page: Page, path: str, body: Any, **headers: str) -> Answer:
    """Send JSON, or bytes as they are, as the page itself does."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(page, path, "POST", data, **{"Origin": page.address.partition("?")[0].rstrip("/"), **headers})


def made_shop(place: Path) -> Path:
    """Make a folder with photos, a run that leaves evidence, another run, and the collections ``one`` and ``two``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIEWKIN_CACHE", str(place / "cache"))
        patch.chdir(place)
        pictures(Path("photos"), range(IMAGES), CLASSES)
        shutil.copy("photos/cat/000.jpg", f"photos/{COPY}")
        methods = {"one": ("--method", "interclr(npid)"), "two": ("--set", "seed=5")}
        for name, options in methods.items():
            ended = viewkin("train", "photos", "--recipe", "demo", *options, *TINY, "--out", f"run-{name}")
            assert ended.code == 0, ended.err
            ended = viewkin("embed", f"run-{name}", "photos", "--to", f"{name}.collection")
            assert ended.code == 0, ended.err
    return place


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of :func:`made_shop`; read only but for what the page keeps."""
    return made_shop(tmp_path_factory.mktemp("shop"))
