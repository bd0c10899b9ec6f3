"""The first pass: decode every image once, fix which can be read, and keep the pixels where they fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from viewkin.data import cache
from viewkin.data.cache import Entry, UnwritableCacheError, Writer
from viewkin.data.decode import decode
from viewkin.data.listing import Encoded, Listing
from viewkin.data.pool import default_threads, in_order
from viewkin.data.source import ResidentSource, Skipped, Source, SourceInfo, StreamingSource
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import counting
from viewkin.runtime.wording import counted

CHUNK = 32
"""Images decoded by one task of the pool."""
Images = list[NDArray[np.uint8]]


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
    least: int = 2
    """Readable images that are needed."""


def first_pass(encoded: Encoded, storage: Storage, keep: Callable[[Images], None]) -> dict[int, str]:
    """Decode every image, hand the readable ones to ``keep`` in order, and name the broken: position to reason."""
    threads = storage.workers or default_threads()
    chunks = [range(i, min(i + CHUNK, len(encoded))) for i in range(0, len(encoded), CHUNK)]
    broken: dict[int, str] = {}

    def work(chunk: range) -> list[NDArray[np.uint8] | str]:
        return [decode(encoded.open(i), storage.size, squash=storage.squash) for i in chunk]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata and of large images; both decode
        decoded = in_order(work, chunks, threads)
        decoded = counting(decoded, "Decoding images", len(encoded), shown=storage.progress)
        for chunk, results in zip(chunks, decoded):
            keep([result for result in results if not isinstance(result, str)])
            broken.update({i: result for i, result in zip(chunk, results) if isinstance(result, str)})
    return broken


def pass_into_cache(encoded: Encoded, storage: Storage, key: str, *, with_pixels: bool) -> Entry | None:
    """Decode into the cache and open what was written; None where the cache cannot be read back."""
    with Writer(storage.cache_dir, key, with_pixels=with_pixels) as writer:
        broken = first_pass(encoded, storage, writer.append)
        writer.finish(len(encoded), broken)
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

    broken = first_pass(encoded, storage, keep)
    return Entry(len(encoded), broken, pixels[:filled] if with_pixels else None)


def take_stock(listing: Listing, storage: Storage, *, with_pixels: bool) -> tuple[Entry, list[str]]:
    """Find the entry of a listing in the cache, or make it; with notes on where it is kept."""
    form: list[cache.Stamp] = [("squashed", 0, 0, 0, 0, 0)] if storage.squash else []
    stamps = listing.encoded.stamps()
    if not stamps:  # images in memory are decoded anew: nothing tells whether they are those of another time
        return pass_into_memory(listing.encoded, storage, with_pixels=with_pixels), []
    key = cache.key_of([*stamps, *form], storage.size)
    entry = cache.load(storage.cache_dir, key, storage.size, with_pixels=with_pixels)
    try:
        entry = entry or pass_into_cache(listing.encoded, storage, key, with_pixels=with_pixels)
        if entry is not None:
            where = f"Decoded images are kept in {storage.cache_dir} and read from there the next time."
            return entry, [where] if with_pixels else []
        reason = "what was written cannot be read back"
    except UnwritableCacheError as error:
        reason = str(error)
    note = f"Decoded images are not kept for the next time, because {storage.cache_dir} is not writable ({reason})."
    return pass_into_memory(listing.encoded, storage, with_pixels=with_pixels), [note]


def store(listing: Listing, storage: Storage, notes: tuple[str, ...] = ()) -> Source:
    """Make a source of a listing: resident where the pixels fit into the memory limit, else streaming.

    Args:
        listing: the images.
        storage: where and how they are kept.
        notes: sentences for the source's notes, after those of the listing.

    Raises:
        UserError: fewer readable images than are needed.
    """
    needed = len(listing.keys) * 3 * storage.size**2
    resident = needed <= storage.memory_limit
    entry, more = take_stock(listing, storage, with_pixels=resident)
    facts = source_info(listing, storage, entry, [*listing.notes, *notes, *more])
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
    )
    return every.rows(entry.rows) if skipped else every


def _too_few(listing: Listing, skipped: tuple[Skipped, ...], least: int) -> str:
    """Say that there are too few readable images."""
    readable = len(listing.keys) - len(skipped)
    what = {0: "no image that can be read", 1: "a single readable image"}.get(readable, f"{readable} readable images")
    why = f" ({skipped[0].key}: {skipped[0].reason})" if skipped else ""
    needed = f"at least {least} {'is' if least == 1 else 'are'} needed"
    return f"{listing.name} holds {what}{why}, and {needed}: check its files."
