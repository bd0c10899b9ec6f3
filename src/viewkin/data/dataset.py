"""From what a user types to a source: a folder, Parquet, an archive of torchvision, or the generated set."""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path

from viewkin.data.cache import default_folder
from viewkin.data.first_pass import Storage, store
from viewkin.data.formats.archives import CLASSES, SIDES, SPLITS, find_archive, kind_of, open_archive
from viewkin.data.formats.folder import list_folder
from viewkin.data.formats.generated import GENERATED_SPLITS, GeneratedConfig, open_generated
from viewkin.data.formats.parquet import list_parquet, parquet_files
from viewkin.data.formats.voc import is_voc, list_voc, splits_of
from viewkin.data.listing import Listing, choose_side, measure
from viewkin.data.source import Source
from viewkin.runtime.errors import UserError

MEMORY_LIMIT = 8 * 2**30
"""Bytes of decoded pixels that are held in memory by default."""


@dataclass(frozen=True)
class Survey:
    """What a quick look says about a set, before anything is decoded."""

    count: int
    """Images listed; some may turn out to be unreadable."""
    shorter_side: int
    """Median of the shorter side, pixels, of a sample; 0 where no header could be read."""
    uniform: bool
    """Whether all images of the sample are squares of one size."""
    labelled: bool
    """Whether at least one image has a label, or several."""
    splits: tuple[str, ...]
    """Splits that can be opened."""
    several: bool = False
    """Whether images show several classes each."""
    classes: int = 0
    """Classes; 0 where nothing is labelled, or an image has several."""


def generated_config(spec: str, size: int | None) -> GeneratedConfig:
    """Read ``generated`` or ``generated:images=4000,classes=10,size=32,seed=0,plain=0``.

    Raises:
        UserError: an unknown option, or a value that is no whole number.
    """
    known = [field.name for field in fields(GeneratedConfig)]
    options: dict[str, int] = {} if size is None else {"size": size}
    _, _, text = spec.partition(":")
    for option in filter(None, text.split(",")):
        name, _, value = (part.strip() for part in option.partition("="))
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.4) or known
            raise UserError(f"{spec} has an unknown option {name!r}: did you mean {' or '.join(near)}?")
        if not value.removeprefix("-").isdecimal():
            raise UserError(f"{spec} gives {name} the value {value!r}: give a whole number, as in {name}=10.")
        if name != "size" or size is None:
            options[name] = int(value)
    return GeneratedConfig(**options)


def is_generated(spec: str) -> bool:
    """Tell whether a spec names the generated set."""
    return spec.partition(":")[0] == "generated"


def existing(spec: str) -> Path:
    """Turn a spec into a path that exists.

    Raises:
        UserError: it does not; the nearest name beside it is offered.
    """
    path = Path(spec).expanduser()
    if path.exists():
        return path
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, [*beside, "generated"], n=1)
    hint = (
        f"did you mean {near[0] if near[0] == 'generated' else path.parent / near[0]}?"
        if near
        else ("give a folder of images, a Parquet file or 'generated'.")
    )
    raise UserError(f"There is no {spec}: {hint}")


def list_images(path: Path, split: str) -> Listing:
    """List the encoded images of a folder or of Parquet files.

    Raises:
        UserError: the path is a file of another kind, or the listing fails.
    """
    if path.is_file() and path.suffix.lower() not in (".parquet", ".pq"):
        raise UserError(f"{path} is neither a folder nor a Parquet file: give the folder that the images lie in.")
    if parquet_files(path):
        return list_parquet(path, split)
    if is_voc(path):
        return list_voc(path, split)
    return list_folder(path, split)


def open_source(
    spec: str,
    *,
    split: str = "train",
    size: int | None = None,
    squash: bool = False,
    workers: int = 0,
    cache_dir: Path | None = None,
    memory_limit: int = MEMORY_LIMIT,
    progress: bool = True,
) -> Source:
    """Open a set of images as squares of uint8 RGB.

    Args:
        spec: a folder of images; a folder laid out as VOC; a Parquet file or a folder of them; a folder that holds
            ``cifar-10-batches-py``, ``cifar-100-python`` or ``stl10_binary``; or
            ``generated:images=4000,classes=10,size=32,seed=0,plain=0``.
        split: ``train``, ``test`` or ``val``; STL-10 also has ``unlabeled`` and ``train+unlabeled``.
        size: side of the stored square, pixels; None keeps one size that all images share, else chooses by the median
            of the shorter sides. Images are resized by their shorter side and cut at the centre.
        squash: resize whole images to the square instead, as the VOC07 protocol does.
        workers: processes that decode a streaming source, and threads of the first pass (0: one a core).
        cache_dir: folder of the cache; None is $VIEWKIN_CACHE, else ``~/.cache/viewkin``.
        memory_limit: bytes of decoded pixels above which images are decoded on demand.
        progress: whether to show a bar when decoding takes over two seconds.

    Raises:
        UserError: nothing there, no such split, fewer than two readable images, or a malformed spec.
    """
    if size is not None and not 8 <= size <= 1024:
        raise UserError(f"Images are stored at 8 to 1024 px, not {size}: give another size.")
    if is_generated(spec):
        return open_generated(generated_config(spec, size), split)
    path = existing(spec)
    archive = find_archive(path)
    if archive is not None:
        return open_archive(archive, split, size)
    listing = list_images(path, split)
    if size is None:
        size, why = choose_side(measure(listing.encoded))
        listing.notes.append(why)
    folder = default_folder() if cache_dir is None else cache_dir
    storage = Storage(
        size=size, workers=workers, cache_dir=folder, memory_limit=memory_limit, squash=squash, progress=progress
    )
    return store(listing, storage)


def survey(spec: str, split: str = "train") -> Survey:
    """Look at a set without decoding it: the headers of a sample are read.

    Raises:
        UserError: as :func:`open_source`, where it shows without decoding.
    """
    if is_generated(spec):
        config = generated_config(spec, None)
        return Survey(config.count(split), config.size, True, True, GENERATED_SPLITS, classes=config.classes)
    path = existing(spec)
    archive = find_archive(path)
    if archive is not None:
        kind = kind_of(archive, split)
        labelled = split != "unlabeled"
        classes = CLASSES[kind] if labelled else 0
        return Survey(SPLITS[kind][split], SIDES[kind], True, labelled, tuple(SPLITS[kind]), classes=classes)
    if is_voc(path):  # the published sets have every split, others what they have
        split = next((name for name in (split, *splits_of(path)) if name in splits_of(path)), split)
    listing = list_images(path, split)
    sides = measure(listing.encoded)
    several = listing.targets is not None
    labelled = listing.labels is not None or several
    classes = 0 if listing.labels is None else max(len(listing.classes), int(listing.labels.max()) + 1)
    return Survey(len(listing.ids), sides.shorter, sides.uniform, labelled, listing.splits, several, classes)
