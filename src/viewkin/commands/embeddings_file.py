"""The file that ``viewkin embed`` writes: what may be replaced, and what may not."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viewkin.collection.embeddings import described, read_embeddings, read_schema
from viewkin.collection.plain_files import beside_npy, check_csv, check_npy
from viewkin.commands.output_files import check_file
from viewkin.data.dataset import Dataset
from viewkin.runtime.errors import UserError

ENDINGS = {".parquet": read_schema, ".csv": check_csv, ".npy": check_npy}
"""Ending of a file to what refuses a file of another kind."""


@dataclass(frozen=True)
class Origin:
    """What embeddings are of."""

    model: str
    """Model as the user named it."""
    model_place: str
    """Its absolute path."""
    kind: str
    """``backbone`` or ``embedding``."""
    name: str
    """The set as the user named it."""
    address: str
    """Text that names the same images from any working directory."""

    @classmethod
    def of(cls, model: str, kind: str, dataset: Dataset) -> Origin:
        """Tell what a model makes of a set; images that lie nowhere are known by their content."""
        address = dataset.address
        if address is None:
            address = f"fingerprint:{dataset.fingerprint()}"
        if dataset.reading.image_column is not None:  # another column holds other images
            address = f"{address} column {dataset.reading.image_column}"
        return cls(model, str(Path(model).absolute()), kind, dataset.name, address)

    def metadata(self) -> dict[str, Any]:
        """Give what the file keeps of it."""
        return {"model": self.model, "model_place": self.model_place, "kind": self.kind, "set": self.name} | {
            "set_address": self.address
        }


def check_embeddings_file(out: Path, origin: Origin, dataset: Dataset, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, or that holds something else, before any work is done.

    A Parquet file says what it is of: it is replaced by embeddings of the same images by the same model. CSV and NPY
    do not say it, so they are replaced only where the user asks for it.

    Args:
        out: file to write.
        origin: what will be written.
        dataset: its images.
        overwrite: replace embeddings of anything.

    Raises:
        UserError: it is refused.
    """
    suffix = out.suffix.lower()
    if suffix not in ENDINGS:
        check_file(out)
        raise UserError(f"--out {out} must end in .parquet, .csv or .npy.")
    for file in [out, beside_npy(out)] if suffix == ".npy" else [out]:
        check_file(file)
        if not file.exists():
            continue
        try:
            ENDINGS[file.suffix.lower()](file)
        except UserError as error:
            raise UserError(f"--out {file} exists and holds something else; name another file.") from error
        if not overwrite:
            check_same(file, origin, dataset)


def check_same(file: Path, origin: Origin, dataset: Dataset) -> None:
    """Refuse to replace embeddings of other images, or of another model.

    Raises:
        UserError: the file holds such, or does not say what it holds.
    """
    advice = "add --overwrite to replace it, or name another file"
    if file.suffix.lower() != ".parquet":
        raise UserError(f"--out {file} exists and does not say of which images and model it is; {advice}.")
    held = described(file, read_schema(file))
    if "set_address" not in held:  # of an older version
        same_images = set(read_embeddings(file).keys) <= every_key(dataset)
        same_model = held.get("model") == origin.model
    else:
        same_images = held["set_address"] == origin.address
        same_model = (held.get("model_place"), held.get("kind")) == (origin.model_place, origin.kind)
    if not same_images:
        raise UserError(f"--out {file} holds embeddings of other images ({held.get('set', 'unknown')}); {advice}.")
    if not same_model:
        other = f"{held.get('model', 'unknown')}, {held.get('kind', held.get('features', 'backbone'))}"
        raise UserError(f"--out {file} holds embeddings by another model ({other}); {advice}.")


def every_key(dataset: Dataset) -> set[str]:
    """Give the keys of all splits that hold images."""
    keys: set[str] = set()
    for split in dataset.splits:
        with suppress(UserError):
            keys.update(dataset.listing(split).keys)
    return keys
