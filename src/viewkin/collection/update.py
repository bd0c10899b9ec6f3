"""Make a collection mirror a set of images: only new and changed images are encoded, and what is gone is forgotten."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from viewkin.collection.changes import Differences, Found, differences, found_images, joined_classes
from viewkin.collection.compaction import tidy
from viewkin.collection.listed_images import ListedImages, listed_images, read_contents, whole_at
from viewkin.collection.manifest import Manifest, Origin, newest_sound
from viewkin.collection.parts import NUMBERS
from viewkin.collection.places import INDEXES, LOCK, MANIFESTS, PARTS, STAMPS
from viewkin.collection.stamps import Stamps
from viewkin.collection.store import Rows, Store
from viewkin.collection.writer import Update, UpdateRequest, Writer, images_of
from viewkin.data.dataset import Dataset
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.wording import counted

OWN = {PARTS, MANIFESTS, INDEXES, STAMPS, LOCK}
"""What may lie in a folder that a writer was killed in before it wrote the first manifest."""
NAMED = 3
"""Images that cannot be read that are named."""


def update(request: UpdateRequest) -> Update:
    """Make a collection mirror a set of images.

    Raises:
        UserError: the folder is no collection or cannot be written, is of another model or of other images, or no
            image can be read.
    """
    require(request.number in (None, *NUMBERS), "The type of the numbers", request.number, "float32 or float16")
    listed, notes, failed = listed_images(request.dataset, request.split)
    store, told = opened_to_write(request)
    told.notes += notes
    rows = store.rows(mend=True)
    stamps = Stamps(request.folder)
    read_contents(request.dataset, listed, stamps)
    classes = joined_classes(store.manifest.classes, listed)
    images = found_images(listed, classes)

    def whole(image: Found) -> str | None:
        known = stamps.whole(image.key)
        if known is None:
            known = whole_at(listed[image.place[0]].encoded, image.place[1])
            if known is not None:
                stamps.note(image.key, image.content, known)
        return known

    def among(split: str | None) -> bool:
        return split not in failed and (request.split is None or split == request.split)

    difference = differences(images, rows, whole, among)
    refuse_others(request, store.manifest, difference, len(rows.keys))
    mend(store, rows, told)
    writer = Writer(request, store, listed, stamps, told)
    writer.forget_and_carry(rows, difference, classes)
    writer.compute(difference.compute)
    tidy(store)
    told.images = store.manifest.live
    told.notes += said_of(request.dataset, listed, told)
    if not told.images:
        raise UserError(f"{request.dataset.name} holds no image that can be read. {' '.join(told.notes)}")
    return told


def opened_to_write(request: UpdateRequest) -> tuple[Store, Update]:
    """Open the collection, or make it.

    Raises:
        UserError: the folder is something else, cannot be written, or is of another model.
    """
    folder, told = request.folder, Update()
    manifest, damaged = newest_sound(folder)
    if manifest is None:
        if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - OWN):
            raise UserError(f"{folder} exists and is no collection: name a folder that is empty or not there yet.")
        made = Manifest(request.origin, images_of(request.dataset), number=request.number or "float32")
        return Store.create(folder, made), told
    if damaged:
        told.notes.append(f"{', '.join(damaged)} is damaged, so the generation before it is used.")
    if manifest.model.fingerprint != request.origin.fingerprint:
        raise other_model(folder, manifest.model, request.origin)
    if request.number not in (None, manifest.number):
        raise UserError(f"{folder} holds numbers of {manifest.number}: leave out the type, or name another collection.")
    if manifest.precision is not None and request.precision not in ("auto", manifest.precision):
        raise UserError(
            f"{folder} holds vectors of a network in {manifest.precision}: leave --precision out, or name another "
            "collection."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{folder} cannot be written: choose a place that you may write to.")
    store = Store(folder, manifest)
    if damaged:
        store.drop([], manifest.generation)
    return store, told


def other_model(folder: Path, has: Origin, given: Origin) -> UserError:
    """Say that a collection was made by another model, and what to do."""
    return UserError(
        f"{folder} holds vectors of another model, {has.name} ({has.features}, {has.fingerprint[:8]}), and not of "
        f"{given.name} ({given.features}, {given.fingerprint[:8]}): use that model, or name another collection."
    )


def refuse_others(request: UpdateRequest, manifest: Manifest, told: Differences, before: int) -> None:
    """Refuse images of another place that would take the place of most of those that are there.

    Raises:
        UserError: they would.
    """
    address = images_of(request.dataset).address
    same_place = address is not None and manifest.images.address == address
    lost = before - told.kept - len({row for _, row in told.carried})
    if same_place or request.overwrite or 2 * lost <= before:
        return
    raise UserError(
        f"{request.folder} holds {before:,} images of {manifest.images.name}, and {lost:,} of them are not "
        f"in {request.dataset.name}: name another collection, or add --overwrite to forget them."
    )


def mend(store: Store, rows: Rows, told: Update) -> None:
    """Take damaged parts out; their images are computed like new ones."""
    if rows.damaged:
        store.drop(rows.damaged, store.manifest.generation)
        count = sum(part.rows for part in rows.damaged)
        names = ", ".join(part.name for part in rows.damaged)
        told.notes.append(f"{names} is damaged, so its {counted(count, 'image')} are computed anew.")


def said_of(dataset: Dataset, listed: Sequence[ListedImages], told: Update) -> list[str]:
    """Say what the listing chose, and what is left out."""
    notes = [note for one in listed for note in one.listing.notes]
    notes += [one.sentence for one in dataset.left_out(listed[0].split if len(listed) == 1 else None)]
    if told.left_out:
        some = list(told.left_out.items())[:NAMED]
        first = ", ".join(f"{key} ({why})" for key, why in some) + ", ..." * (len(told.left_out) > NAMED)
        verb = "is" if len(told.left_out) == 1 else "are"
        notes.append(f"{counted(len(told.left_out), 'image')} cannot be read and {verb} left out: {first}.")
    return list(dict.fromkeys(notes))
