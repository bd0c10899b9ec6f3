"""The addresses of the page and what each answers.

An image is named by its collection's number and its row, never by a path, so no address reaches another file.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from viewkin.explorer.comparison import answers
from viewkin.explorer.findings import FindingLists
from viewkin.explorer.jobs import Job
from viewkin.explorer.shown_collection import ShownCollection
from viewkin.explorer.uploads import MOST_BYTES, TooLargeError, as_file, read_bounded
from viewkin.runtime.errors import UserError

PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/favicon.ico": ("favicon.svg", "image/svg+xml"),
    "/licences.txt": ("licences.txt", "text/plain; charset=utf-8"),
}
"""Address to the file of the package that answers it, and its type."""
MOST_MATCHES = 100
MOST_JSON = 16 * 2**20
"""Bytes of the largest list of rows that is taken."""
FOUND = 100_000
"""Images that a search by text gives at most."""
FOR_EVER = {"cache-control": "private, max-age=31536000, immutable"}
"""For pictures: their address holds the state of the collection, so it changes when they may."""


class NoSuchError(UserError):
    """A collection, row or column that is not there."""


class Pages:
    """Answers requests about one or two collections."""

    def __init__(self, collections: Sequence[ShownCollection], findings: Sequence[FindingLists]) -> None:
        """Take the collections, and the lists of each."""
        self._collections, self._findings = collections, findings

    def routes(self) -> list[Route]:
        """List the addresses."""
        at = "/api/{collection:int}"
        get: dict[str, Callable[[Request], Response]] = {
            "/api/collections": self._told,
            f"{at}/map": self._map,
            f"{at}/progress": self._progress,
            f"{at}/column/{{name}}": self._column,
            f"{at}/find": self._find,
            f"{at}/row/{{row:int}}": self._row,
            f"{at}/thumbnail/{{row:int}}": self._picture,
            f"{at}/picture/{{row:int}}": self._picture,
            f"{at}/neighbours/{{row:int}}": self._neighbours,
            f"{at}/kin/{{row:int}}": self._kin,
            f"{at}/kin": self._kin_rows,
            f"{at}/marks": self._marks,
            f"{at}/findings/{{kind}}": self._finding,
            f"{at}/findings/{{kind}}/csv": self._finding_csv,
        }
        post: dict[str, Callable[[Request, Any], Response]] = {
            f"{at}/marks": self._mark,
            f"{at}/rows": self._rows,
            f"{at}/export": self._export,
            f"{at}/not-duplicates": self._part,
            f"{at}/findings/{{kind}}/stop": self._stop,
            f"{at}/map": self._draw,
        }
        files = [Route(address, _file_of(*PAGE[address])) for address in PAGE]
        return [
            *files,
            *(Route(address, answer, methods=["GET"]) for address, answer in get.items()),
            *(Route(address, _with_json(answer), methods=["POST"]) for address, answer in post.items()),
            Route("/api/search", self._search, methods=["POST"]),
        ]

    def _collection(self, request: Request) -> ShownCollection:
        return self._collections[self._number(request)]

    def _number(self, request: Request) -> int:
        number = request.path_params["collection"]
        if not 0 <= number < len(self._collections):
            raise NoSuchError("There is no such collection.")
        return number

    def _at(self, request: Request) -> tuple[ShownCollection, int]:
        one = self._collection(request)
        return one, _checked_row(one, request.path_params["row"])

    def _told(self, _: Request) -> Response:
        return JSONResponse([one.told() for one in self._collections])

    def _map(self, request: Request) -> Response:
        """Give the places of all points, float32, x and y in turn; headers say how they were found."""
        plane, ready = self._collection(request).map.now()
        headers = {"x-map": plane.method, "x-ready": "yes" if ready else "no"}
        return Response(plane.points.astype("<f4").tobytes(), media_type="application/octet-stream", headers=headers)

    def _progress(self, request: Request) -> Response:
        return JSONResponse(self._collection(request).map.job.told())

    def _column(self, request: Request) -> Response:
        try:
            column = self._collection(request).column(request.path_params["name"])
        except LookupError as error:
            raise NoSuchError("There is no such column.") from error
        return _job_told(column) if isinstance(column, Job) else JSONResponse(column)

    def _find(self, request: Request) -> Response:
        text = request.query_params.get("text", "").strip()
        if not text:
            raise UserError("Nothing to find: type a part of a key, or a condition such as label=cat.")
        return JSONResponse({"rows": self._collection(request).find(text, FOUND)})

    def _row(self, request: Request) -> Response:
        one, row = self._at(request)
        return JSONResponse(one.facts(row))

    def _picture(self, request: Request) -> Response:
        one, row = self._at(request)
        jpeg = one.pictures.of(row, large="/picture/" in request.url.path)
        if jpeg is None:
            return PlainTextResponse("The image is no longer there, or cannot be read.", 404)
        return Response(jpeg, media_type="image/jpeg", headers=FOR_EVER)

    def _neighbours(self, request: Request) -> Response:
        one, row = self._at(request)
        key = one.reader.rows.keys[row]
        found = answers(self._collections, lambda other: other.of_key(key), _k(request))
        return JSONResponse({"query": one.facts(row), **found})

    async def _search(self, request: Request) -> Response:
        """Search by the image that is the body of the request."""
        data = await read_bounded(request.stream(), request.headers.get("content-length"), MOST_BYTES)
        k = _k(request)
        return await run_in_threadpool(self._searched, data, k)

    def _searched(self, data: bytes, k: int) -> Response:
        with as_file(data) as path:
            found = answers(self._collections, lambda one: one.of_file(path), k)
        if all(one["why"] is not None for one in found["lists"]):
            raise UserError(found["lists"][0]["why"].replace(path, "The image"))
        return JSONResponse({"query": None, **found})

    def _kin(self, request: Request) -> Response:
        one, row = self._at(request)
        return JSONResponse({"kinds": one.kin.of(row, one.reader), "note": one.kin.note})

    def _kin_rows(self, request: Request) -> Response:
        one = self._collection(request)
        return JSONResponse({"rows": sorted(one.kin.related), "note": one.kin.note})

    def _marks(self, request: Request) -> Response:
        return JSONResponse(self._collection(request).marks.of_rows())

    def _mark(self, request: Request, body: Any) -> Response:
        one = self._collection(request)
        name = body.get("mark") if isinstance(body, dict) else None
        return JSONResponse(one.marks.put(_rows_of(one, body), name))

    def _rows(self, request: Request, body: Any) -> Response:
        one = self._collection(request)
        return JSONResponse([one.facts(row) for row in _rows_of(one, body)])

    def _export(self, request: Request, body: Any) -> Response:
        one = self._collection(request)
        headers = {"content-disposition": 'attachment; filename="images.csv"'}
        return Response(one.as_csv(_rows_of(one, body)), media_type="text/csv; charset=utf-8", headers=headers)

    def _finding(self, request: Request) -> Response:
        """Start a list by the fields of its form, or give it."""
        lists, kind = self._findings[self._number(request)], request.path_params["kind"]
        fields = {name: text for name, text in request.query_params.items() if name != "again" and text.strip()}
        try:
            job = lists.job(kind, fields, again="again" in request.query_params)
        except LookupError as error:
            raise NoSuchError("There is no such list.") from error
        if job.ended and job.error is not None:  # an answer like others: that there are no labels is no fault
            return JSONResponse({"error": job.error})
        return JSONResponse(job.result["seen"]) if job.ended and job.result is not None else _job_told(job)

    def _finding_csv(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        try:
            data = self._findings[self._number(request)].csv(kind)
        except LookupError as error:
            raise NoSuchError("There is no such list.") from error
        headers = {"content-disposition": f'attachment; filename="{kind}.csv"'}
        return Response(data, media_type="text/csv; charset=utf-8", headers=headers)

    def _stop(self, request: Request, _: Any) -> Response:
        try:
            self._findings[self._number(request)].stop(request.path_params["kind"])
        except LookupError as error:
            raise NoSuchError("There is no such list.") from error
        return JSONResponse({})

    def _draw(self, request: Request, body: Any) -> Response:
        """Stop drawing the map, or begin again."""
        wanted = body.get("draw") if isinstance(body, dict) else None
        if not isinstance(wanted, bool):
            raise UserError('Send {"draw": true} or {"draw": false}.')
        one = self._collection(request).map
        one.draw(wanted)
        return JSONResponse(one.job.told())

    def _part(self, request: Request, body: Any) -> Response:
        one = self._collection(request)
        self._findings[self._number(request)].part_them(_rows_of(one, body))
        return JSONResponse({})


def application(pages: Pages) -> Starlette:
    """Make the application."""
    return Starlette(routes=pages.routes(), exception_handlers={UserError: _refused})


def _refused(_: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, NoSuchError) else 413 if isinstance(error, TooLargeError) else 400
    return JSONResponse({"error": str(error)}, status)


def _job_told(job: Job) -> Response:
    """Say how far a job is: 202 while it runs."""
    return JSONResponse(job.told(), 500 if job.error is not None else 202)


def _file_of(name: str, kind: str) -> Callable[[Request], Response]:
    def answer(_: Request) -> Response:
        data = resources.files("viewkin.explorer").joinpath("page", name).read_bytes()
        return Response(data, headers={"content-type": kind, "cache-control": "no-cache"})

    return answer


def _with_json(answer: Callable[[Request, Any], Response]) -> Callable[[Request], Any]:
    async def answered(request: Request) -> Response:
        chunks: AsyncIterator[bytes] = request.stream()
        data = await read_bounded(chunks, request.headers.get("content-length"), MOST_JSON)
        try:
            body = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise UserError("This is no JSON.") from error
        return await run_in_threadpool(answer, request, body)

    return answered


def _k(request: Request) -> int:
    text = request.query_params.get("k", "12")
    if not text.isdecimal() or not 1 <= int(text) <= MOST_MATCHES:
        raise UserError(f"k is {text!r}; it must be 1 to {MOST_MATCHES}.")
    return int(text)


def _checked_row(one: ShownCollection, row: Any) -> int:
    if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row < len(one.reader):
        raise NoSuchError("There is no such image.")
    return row


def _rows_of(one: ShownCollection, body: Any) -> list[int]:
    rows = body.get("rows") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise UserError('Rows are missing: send {"rows": [0, 1]}.')
    return [_checked_row(one, row) for row in rows]
