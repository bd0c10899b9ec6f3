"""The first pass: decode every image once, fix which can be read, and keep the pixels where they fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from viewkin.data import cache
from viewkin.data.cache import Entry, Told, UnwritableCacheError, Writer
from viewkin.data.decode import decode, reason, values_in
from viewkin.data.left_out import LeftOut, Tally
from viewkin.data.listing import SAMPLE, Encoded, Listing, evenly
from viewkin.data.pillow_warnings import PillowWarnings
from viewkin.data.pool import default_threads, in_order
from viewkin.data.source import ResidentSource, Skipped, Source, SourceInfo, StreamingSource
from viewkin.data.values import Range, UnrangedError, chosen_range
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import counting
from viewkin.runtime.wording import counted

CHUNK = 32
"""Images decoded by one task of the pool."""
FEW = 16
"""Images of more than 8 bits in a sample below which all are looked at."""
Images = list[NDArray[np.uint8]]
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Where and how decoded images are kept."""

    size: int
    """Side of the stored square, pixels."""
    workers: int = 0
    """Threads of the first pass and processes of a streaming source; 0: as many threads as cores, no process."""
    cache_dir: Path
    """Folder of the cache."""
    memory_limit: int
    """Bytes of pixels above which images are decoded on demand."""
    squash: bool = False
    """Squash whole images to the square, instead of cutting out the centre."""
    progress: bool = True
    """Whether to show a bar for a first pass that takes over two seconds."""
    value_range: Range | None = None
    """Values that become black and white in images of more than 8 bits; None: chosen by the images."""
    least: int = 2
    """Readable images that are needed."""


def decoded_at(encoded: Encoded, position: int, storage: Storage) -> tuple[NDArray[np.uint8] | str, dict[str, int]]:
    """Decode one image, or say why it cannot be done; with what :func:`viewkin.data.decode.read` notes beside it."""
    aside: dict[str, int] = {}
    try:
        image = encoded.open(position)
    except OSError as error:  # a damaged part of a Parquet file
        return reason(error), aside
    squash, value_range = storage.squash, storage.value_range
    result = decode(image, storage.size, squash=squash, value_range=value_range, aside=aside)
    return result, aside


def first_pass(encoded: Encoded, storage: Storage, keep: Callable[[Images], None]) -> tuple[dict[int, str], Told]:
    """Decode every image and hand the readable ones to ``keep`` in order.

    Returns:
        Position to reason of the broken ones, and what else was found out.

    Raises:
        UnrangedError: an image has more than 8 bits, and ``storage`` no range of values.
    """
    threads = storage.workers or default_threads()
    chunks = [range(i, min(i + CHUNK, len(encoded))) for i in range(0, len(encoded), CHUNK)]
    broken: dict[int, str] = {}
    pages: dict[int, int] = {}
    wide: set[int] = set()
    with PillowWarnings() as warned:

        def work(chunk: range) -> list[NDArray[np.uint8] | str]:
            return [one(i) for i in chunk]

        def one(i: int) -> NDArray[np.uint8] | str:
            warned.of(i)
            result, aside = decoded_at(encoded, i, storage)
            if aside.get("pages"):
                pages[i] = aside["pages"]
            if aside.get("wide"):
                wide.add(i)
            return result

        decoded = in_order(work, chunks, threads)
        decoded = counting(decoded, "Decoding images", len(encoded), shown=storage.progress)
        for chunk, results in zip(chunks, decoded):
            keep([result for result in results if not isinstance(result, str)])
            broken.update({i: result for i, result in zip(chunk, results) if isinstance(result, str)})
    unused = {i: count for i, count in sorted(pages.items()) if i not in broken}
    told = Told(
        value_range=storage.value_range if wide else None,
        warned=tuple(sorted(warned.positions - broken.keys())),
        pages=unused,
    )
    return broken, told


def pass_into_cache(encoded: Encoded, storage: Storage, key: str, *, with_pixels: bool) -> Entry | None:
    """Decode into the cache and open what was written; None where the cache cannot be read back."""
    with Writer(storage.cache_dir, key, with_pixels=with_pixels) as writer:
        broken, told = first_pass(encoded, storage, writer.append)
        writer.finish(len(encoded), broken, told)
    return cache.load(storage.cache_dir, key, storage.size, with_pixels=with_pixels)


def pass_into_memory(encoded: Encoded, storage: Storage, *, with_pixels: bool) -> Entry:
    """Decode into a tensor."""
    side = storage.size
    pixels = torch.empty(len(encoded) if with_pixels else 0, 3, side, side, dtype=torch.uint8)
    filled = 0

    def keep(images: Images) -> None:
        nonlocal filled
        for image in images if with_pixels else ():
            pixels[filled] = torch.from_numpy(image)
            filled += 1

    broken, told = first_pass(encoded, storage, keep)
    return Entry(len(encoded), broken, pixels[:filled] if with_pixels else None, told)


def ranged(make: Callable[[Storage], Made], encoded: Encoded, storage: Storage) -> Made:
    """Make a first pass; where images turn out to have more than 8 bits, choose their range and begin anew."""
    try:
        return make(storage)
    except UnrangedError:
        with PillowWarnings():
            value_range = range_of(encoded)
        return make(replace(storage, value_range=value_range))


def range_of(encoded: Encoded) -> Range:
    """Choose the range of values of a set by a sample of its images of more than 8 bits."""
    samples = [values for i in encoded.sample(SAMPLE) if (values := _values_at(encoded, i)) is not None]
    if len(samples) < FEW:  # they are rare: look for them among all
        samples = [values for i in range(len(encoded)) if (values := _values_at(encoded, i)) is not None]
        samples = [samples[i] for i in evenly(len(samples), SAMPLE)]
    return chosen_range(samples)


def _values_at(encoded: Encoded, position: int) -> NDArray[np.float64] | None:
    try:
        return values_in(encoded.open(position))
    except OSError:
        return None


def take_stock(listing: Listing, storage: Storage, *, with_pixels: bool) -> tuple[Entry, list[str]]:
    """Find the entry of a listing in the cache, or make it; with notes on where it is kept."""
    form: list[cache.Stamp] = [("squashed", 0, 0, 0, 0, 0)] if storage.squash else []
    if storage.value_range is not None:
        form.append((f"values {storage.value_range}", 0, 0, 0, 0, 0))
    encoded, stamps = listing.encoded, listing.encoded.stamps()
    into_memory = partial(pass_into_memory, encoded, with_pixels=with_pixels)
    if not stamps:  # images in memory are decoded anew: nothing tells whether they are those of another time
        return ranged(into_memory, encoded, storage), []
    key = cache.key_of([*stamps, *form], storage.size)
    entry = cache.load(storage.cache_dir, key, storage.size, with_pixels=with_pixels)
    into_cache = partial(pass_into_cache, encoded, key=key, with_pixels=with_pixels)
    try:
        entry = entry or ranged(into_cache, encoded, storage)
        if entry is not None:
            where = f"Decoded images are kept in {storage.cache_dir} and read from there the next time."
            return entry, [where] if with_pixels else []
        why = "what was written cannot be read back"
    except UnwritableCacheError as error:
        why = str(error)
    note = f"Decoded images are not kept for the next time, because {storage.cache_dir} is not writable ({why})."
    return ranged(into_memory, encoded, storage), [note]


def store(listing: Listing, storage: Storage, notes: tuple[str, ...] = (), left_out: Sequence[LeftOut] = ()) -> Source:
    """Make a source of a listing: resident where the pixels fit into the memory limit, else streaming.

    Args:
        listing: the images.
        storage: where and how they are kept.
        notes: sentences for the source's notes, after those of the listing.
        left_out: what lies among the images and is not used.

    Raises:
        UserError: fewer readable images than are needed.
    """
    needed = len(listing.keys) * 3 * storage.size**2
    resident = needed <= storage.memory_limit
    entry, more = take_stock(listing, storage, with_pixels=resident)
    pages = pages_left_out(listing, entry.told)
    said = [*listing.notes, *notes, *(one.sentence for one in [*left_out, *pages]), *notes_on(entry.told), *more]
    facts = replace(source_info(listing, storage, entry, said), left_out=(*left_out, *pages))
    if resident and entry.pixels is not None:
        return ResidentSource(facts, entry.pixels)
    note = (
        f"The decoded images need {needed / 2**30:.1f} GiB, over the limit of {storage.memory_limit / 2**30:.1f} GiB, "
        "so each is decoded whenever it is used."
    )
    facts = replace(facts, notes=(*facts.notes, note))
    encoded = listing.encoded.random_access(storage.cache_dir)
    return StreamingSource(facts, encoded, entry.rows, storage.workers)


def source_info(listing: Listing, storage: Storage, entry: Entry, notes: list[str]) -> SourceInfo:
    """Keep what the listing says of the readable images, and name the others in the notes.

    Raises:
        UserError: fewer readable images than are needed.
    """
    skipped = tuple(Skipped(listing.keys[i], why) for i, why in sorted(entry.broken.items()))
    if skipped:
        first = ", ".join(f"{one.key} ({one.reason})" for one in skipped[:3]) + ", ..." * (len(skipped) > 3)
        notes = [
            *notes,
            f"{len(skipped)} of {counted(entry.listed, 'image')} cannot be read and are left out: {first}.",
        ]
    if entry.listed - len(skipped) < storage.least:
        raise UserError(_too_few(listing, skipped, storage.least))
    every = SourceInfo(
        name=listing.name,
        size=storage.size,
        keys=listing.keys,
        names=listing.names,
        labels=listing.labels,
        targets=listing.targets,
        classes=listing.classes,
        groups=listing.groups,
        squashed=storage.squash,
        skipped=skipped,
        notes=tuple(notes),
        value_range=entry.told.value_range,
    )
    return every.rows(entry.rows) if skipped else every


def pages_left_out(listing: Listing, told: Told) -> list[LeftOut]:
    """Count the pages and frames beyond the first."""
    tally = Tally()
    for position, count in told.pages.items():
        tally.add("further page", "the first page or frame of each file is used", listing.keys[position], count)
    return tally.report()


def notes_on(told: Told) -> list[str]:
    """Say what else the first pass found out."""
    notes: list[str] = []
    if told.value_range is not None:
        low, high = told.value_range
        notes.append(
            f"Images of more than 8 bits: the values {low:g} to {high:g} become black to white; "
            f"data.value_range sets others."
        )
    if told.warned:
        verb = "has" if len(told.warned) == 1 else "have"
        notes.append(f"{counted(len(told.warned), 'image')} {verb} damaged metadata (warnings by Pillow).")
    return notes


def _too_few(listing: Listing, skipped: tuple[Skipped, ...], least: int) -> str:
    """Say that there are too few readable images."""
    readable = len(listing.keys) - len(skipped)
    what = {0: "no image that can be read", 1: "a single readable image"}.get(readable, f"{readable} readable images")
    why = f" ({skipped[0].key}: {skipped[0].reason})" if skipped else ""
    needed = f"at least {least} {'is' if least == 1 else 'are'} needed"
    return f"{listing.name} holds {what}{why}, and {needed}: check its files."
