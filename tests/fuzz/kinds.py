"""Kinds of files: what a sound one is, how it is damaged, and who reads it."""

from __future__ import annotations

import io
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from fuzz.mutations import ESCAPES, MAGICS, damage, json_text, odd_tree, odd_value, png_of_size
from viewkin.collection.embeddings import described, read_embeddings, read_schema, write_embeddings
from viewkin.commands.figures.curves import draw_curves_of
from viewkin.data.dataset import Dataset
from viewkin.evaluation.results import Results, describe, read_results, write_results
from viewkin.figures.evidence import (
    PartAssignments,
    RelatedImages,
    read_assignments,
    read_related,
    write_assignments,
    write_related,
)
from viewkin.nets.backbone_file import KEY, describe_backbone, load_backbone, save_backbone
from viewkin.nets.tensor_files import BLANK, LENGTH_BYTES, MARK, read_safetensors, sealed_safetensors
from viewkin.recipes.catalogue import recipe_named
from viewkin.runs.method_expression import with_method
from viewkin.runs.models import open_model
from viewkin.runs.record import read_record
from viewkin.runs.run_settings import RunSettings, read_run_settings, rebuilt, write_settings
from viewkin.runtime.checksum import new_digest
from viewkin.runtime.errors import UserError
from viewkin.runtime.wording import one_line
from viewkin.settings import settings_to_dict, with_values
from viewkin.training.checkpoint import load_checkpoint, save_checkpoint
from viewkin.training.config import Recipe
from viewkin.training.logs import read_metrics

Texts = list[str]
"""What a reader would show to a person."""
IMAGE_SIZE = 16
BACKBONE, CHECKPOINT = "backbone.safetensors", "last.ckpt"
FORMATS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("RGB", "png", {}),
    ("P", "png", {}),
    ("I;16", "png", {}),
    ("RGBA", "png", {"compress_level": 0}),
    ("RGB", "jpg", {"quality": 90}),
    ("RGB", "jpg", {"progressive": True}),
    ("CMYK", "jpg", {}),
    ("L", "jpg", {}),
    ("P", "gif", {}),
    ("RGB", "bmp", {}),
    ("1", "bmp", {}),
    ("RGB", "tiff", {}),
    ("F", "tiff", {}),
    ("RGB", "tiff", {"compression": "tiff_lzw"}),
    ("RGB", "tiff", {"compression": "tiff_adobe_deflate"}),
    ("RGB", "webp", {}),
    ("RGBA", "webp", {"lossless": True}),
    ("L", "pgm", {}),
    ("RGB", "ppm", {}),
)
"""Pillow's mode, ending and options of the images that are damaged."""


class WronglyReadError(Exception):
    """A damaged file was read as if it were whole, or a reader gave something that makes no sense."""


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    share: int
    """How many cases of a hundred."""
    write: Callable[[Path, Path, Random], None]
    """``(corpus, place, random)`` writes a damaged file, and what belongs beside it, into an empty folder."""
    read: Callable[[Path, Path], Texts]
    """``(corpus, place)`` reads it, by every function that does."""


def write_corpus(folder: Path) -> None:
    """Write sound files of every kind."""
    folder.mkdir(parents=True)
    _write_images(folder / "images")
    _write_run(folder / "run")
    _write_tables(folder / "tables")


def _write_images(folder: Path) -> None:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number, (mode, ending, options) in enumerate(FORMATS):
        coarse = random.integers(0, 255, (5, 6, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((40, 30), Image.Resampling.BICUBIC)
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 16)
        path = folder / f"{number:02d}.{ending}"
        exif = Image.Exif()
        exif[0x0112] = 6
        (image if image.mode == mode else image.convert(mode)).save(
            path, **options, **({"exif": exif} if ending in ("jpg", "webp") else {})
        )
    frames = [Image.new("P", (20, 20), colour) for colour in range(4)]
    frames[0].save(folder / "frames.gif", save_all=True, append_images=frames[1:])


def sorted_safetensors(content: bytes) -> bytes:
    """Write the header of a sealed safetensors file in order: the library's order is another one each time."""
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(content[LENGTH_BYTES : LENGTH_BYTES + length])
    header["__metadata__"][MARK] = BLANK
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    blank = len(text).to_bytes(LENGTH_BYTES, "little") + text + content[LENGTH_BYTES + length :]
    digest = new_digest()
    digest.update(blank)
    return blank.replace(BLANK.encode(), digest.hexdigest().encode(), 1)


def small_recipe(method: str = "interclr(moco)") -> Recipe:
    """A recipe with few weights."""
    values = {"backbone.width": 8, "augment.image_size": IMAGE_SIZE, "data.batch_size": 8}
    recipe = with_values(with_method(recipe_named("demo"), method), values)
    paths = {"method.base.queue_size": 32, "method.clusters": 4} if method == "interclr(moco)" else {}
    return with_values(recipe, {**paths, "augment.view_size": None})


def _write_run(run: Path) -> None:
    recipe = small_recipe()
    write_settings(run, RunSettings(data="../images", address=str(run), fingerprint="0" * 32, images=64, recipe=recipe))
    method = rebuilt(recipe, 64)
    backbone: Any = method.backbone
    config = recipe.backbone
    facts: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.2,) * 3, "size": IMAGE_SIZE}
    save_backbone(run / BACKBONE, backbone, config, **facts, extra={"recipe": recipe.name})
    (run / BACKBONE).write_bytes(sorted_safetensors((run / BACKBONE).read_bytes()))
    prefix = next(name for name, part in method.named_modules() if part is backbone) + "."
    state = {
        "method": method.state_dict(),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
        "best": 0.5,
        "progress": {"round": 0, "epoch": 1, "step": 8},
        "images": {"count": 64, "keys": 7},
        "statistics": [],
        "backbone": describe_backbone(config, **facts, prefix=prefix),
    }
    save_checkpoint(run / CHECKPOINT, state)
    always = {"term/moco": 4.0, "lr": 0.03, "images_per_second": 80.5, "knn_monitor": 0.3}
    lines = [{"step": step, "loss": 5 / step, "epoch": step / 4, **always} for step in range(1, 9)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    results = [
        describe("knn", recipe.augment, {"top1": 40.0, "top5": math.nan}, model="backbone, 64-d", data="images"),
        describe("linear", recipe.data, {"top1": 43.0}, model="untrained", data="images", seed=0, notes=["A note."]),
    ]
    write_results(run / "evaluation-knn.json", results)


def _write_tables(folder: Path) -> None:
    folder.mkdir()
    keys = [f"train/{number:03d}.jpg" for number in range(40)]
    rows = torch.nn.functional.normalize(torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    about = {"model": "run", "data": "images", "features": "backbone"}
    labels = torch.arange(40) % 3 - 1
    write_embeddings(folder / "embeddings.parquet", rows, keys, labels, ("a", "b"), about, splits=["train"] * 40)
    related = [RelatedImages(i, keys[i], "interclr/positives", (i + 1, i + 2), (0.5, 0.25)) for i in range(20)]
    write_related(folder / "evidence.parquet", [*related, RelatedImages(3, keys[3], "invp/hop1", ())], {"images": 40})
    parts = [PartAssignments(i, keys[i], "amdim/7", torch.arange(49).view(7, 7)) for i in range(9)]
    write_assignments(folder / "assignments.parquet", parts, {"images": 40})
    pq.write_table(image_table(12, Random(0)), folder / "images.parquet", row_group_size=5)
    pq.write_table(image_table(12, Random(0)), folder / "packed.parquet", compression="zstd", row_group_size=5)


def image_table(count: int, random: Random) -> pa.Table:
    """A sound table of images, in the layout of Hugging Face."""
    images = [{"bytes": encoded((random.randrange(255),) * 3), "path": f"{i}.png"} for i in range(count)]
    names = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pa.table({"image": images, "label": [i % 2 for i in range(count)]})
    return table.replace_schema_metadata({"huggingface": json.dumps(names)})


def encoded(colour: tuple[int, int, int]) -> bytes:
    """A small PNG of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (20, 17), colour).save(stream, "png")
    return stream.getvalue()


# ---------------------------------------------------------------- images


def write_image(corpus: Path, place: Path, random: Random) -> None:
    """One damaged image, with a sound one beside it in half of the cases."""
    chosen = random.choice(sorted((corpus / "images").iterdir()))
    content, ending = chosen.read_bytes(), chosen.suffix
    change = random.randrange(12)
    if change == 0 and ending == ".png":
        side = random.choice((0, 1, 13_312, 20_000, 65_535, 2**31 - 1, 2**32 - 1))
        content = png_of_size(side, random.choice((side, 1, 30)), content)
    elif change == 1:
        ending = random.choice((".png", ".jpg", ".gif", ".bmp", ".tiff", ".webp", ".ppm", ".JPEG", ".tif", ".heic", ""))
    elif change == 2:
        content = random.choice(MAGICS) + random.randbytes(random.choice((0, 10, 3000)))
    elif change == 3:
        header = random.choice((b"P6 %d %d 255\n", b"P5\n%d %d\n65535\n", b"P3 %d %d 1 ", b"P4 %d %d\n", b"P6 %d"))
        sizes = (random.choice((0, 1, 9, 60_000, 10**12)), random.choice((1, -5, 9, 60_000)))
        content, ending = header % sizes[: header.count(b"%d")] + random.randbytes(100), ".ppm"
    if change > 1:
        content = damage(content, random) if change != 4 else content
    name = random.choice(("damaged", "damaged", "na\x1bme[31m", "two\nlines", "x" * 200, "ü \u202e", "a#3", ".hidden"))
    folder = place / "images" / random.choice(("", "", "train/cat", "test", "a\x07b"))
    folder.mkdir(parents=True)
    (folder / f"{name}{ending}").write_bytes(content)
    if random.random() < 0.5:
        (place / "images" / "sound.png").write_bytes(encoded((10, 20, 30)))


def read_images(corpus: Path, place: Path) -> Texts:
    """List, hash, look at and decode a set of images."""
    texts = _everything_of(place / "images", place)
    files = [path for path in sorted((place / "images").rglob("*")) if path.is_file()]
    for path in files[:2]:
        texts += _refused(lambda path=path: _everything_of(path, place))
    return texts


def _everything_of(images: Path, place: Path) -> Texts:
    dataset = Dataset(images)
    split = dataset.splits[0] if "train" not in dataset.splits else "train"
    cache = place / "cache"
    texts = [repr(dataset), *(one.sentence for one in dataset.left_out())]
    dataset.survey(split)
    source = dataset.source(split, size=IMAGE_SIZE, least=1, cache_dir=cache)
    pixels = source.images(torch.arange(len(source)))
    if pixels.shape != (len(source), 3, IMAGE_SIZE, IMAGE_SIZE) or not len(source):
        raise WronglyReadError(f"pixels of shape {tuple(pixels.shape)} for {len(source)} images")
    if len({*source.keys}) != len(source):
        raise WronglyReadError("two images have one key")
    again = Dataset(images).source(split, size=IMAGE_SIZE, least=1, cache_dir=cache)
    if not torch.equal(pixels, again.images(torch.arange(len(again)))):
        raise WronglyReadError("the cache holds other pixels")
    ids = dataset.content_ids(split, cache_dir=cache)
    if len(ids) != len(dataset.listing(split).keys) or len(dataset.fingerprint(split, cache_dir=cache)) != 32:
        raise WronglyReadError("images without a content id")
    streamed = dataset.source(split, size=IMAGE_SIZE, least=1, cache_dir=cache, memory_limit=0)
    if not torch.equal(pixels, streamed.images(torch.arange(len(streamed)))):
        raise WronglyReadError("streamed images differ")
    return [one_line(text) for text in (*texts, *source.notes, *(one.reason for one in source.skipped))]


# ---------------------------------------------------------------- Parquet


def write_parquet(corpus: Path, place: Path, random: Random) -> None:
    """A damaged or odd Parquet file of images, alone or as one shard of two."""
    (place / "images").mkdir()
    name = random.choice(("images.parquet", "packed.parquet"))
    content = (corpus / "tables" / name).read_bytes()
    target = place / "images" / random.choice(("data.parquet", "train-0.parquet", "te\x1b[1mst.parquet"))
    if random.random() < 0.5:
        target.write_bytes(damage(content, random))
    else:
        _write_odd_table(target, random)
    if random.random() < 0.3:
        (place / "images" / random.choice(("train-1.parquet", "test-0.parquet"))).write_bytes(content)


def _write_odd_table(target: Path, random: Random) -> None:
    count = random.choice((0, 1, 3, 9))
    cells: tuple[Any, ...] = (None, b"", encoded((1, 2, 3)), encoded((9, 9, 9)), random.randbytes(50), MAGICS[0])
    images = [random.choice(cells) for _ in range(count)]
    kinds = (pa.binary(), pa.large_binary(), pa.string(), pa.int64(), pa.list_(pa.int8()), pa.null(), pa.binary_view())
    kind = random.choice(kinds)
    columns: tuple[Callable[[], pa.Array], ...] = (
        lambda: pa.array(images, pa.binary()),
        lambda: pa.array([None if i is None else {"bytes": i, "path": ESCAPES} for i in images]),
        lambda: pa.array([{"bytes": i, "path": None} for i in images]),
        lambda: pa.array([{"path": "sound.png"} for _ in images], pa.struct([("path", pa.string())])),
        lambda: pa.array([None] * count, kind),
        lambda: pa.array(images, pa.binary()).dictionary_encode(),
        lambda: pa.array([[i] for i in images], pa.list_(pa.binary())),
        lambda: pa.array([7] * count),
    )
    labels: tuple[Callable[[], pa.Array], ...] = (
        lambda: pa.array([random.choice((0, 1, 5, None, -3, 2**62)) for _ in images], pa.int64()),
        lambda: pa.array([random.choice((0.0, 1.0, 0.5, math.nan, math.inf, None)) for _ in images], pa.float64()),
        lambda: pa.array([random.choice(("a", "", None, ESCAPES, "x" * 2000)) for _ in images], pa.string()),
        lambda: pa.array([random.choice((True, None)) for _ in images], pa.bool_()),
        lambda: pa.array([[1]] * count, pa.list_(pa.int64())),
        lambda: pa.array([2**63] * count, pa.uint64()),
        lambda: pa.array([None] * count, pa.null()),
        lambda: pa.array(["a"] * count).dictionary_encode(),
        lambda: pa.array([b"\xff"] * count, pa.binary()),
        lambda: pa.array([10**9] * count, pa.timestamp("ns")),
        lambda: pa.array([{"a": 1}] * count, pa.struct([("a", pa.int64())])),
    )
    image = random.choice(("image", "image", "image", "img", "jpg", "png", "images", "bytes", "x" * 3000, ESCAPES))
    label = random.choice(("label", "label", "labels", "fine_label", "cls", "y" * 3000, ESCAPES, "split", "name"))
    table = pa.table({image: random.choice(columns)(), label: random.choice(labels)()})
    if random.random() < 0.2:
        table = table.append_column(random.choice(("image", "label", "name", "path")), pa.array([None] * count, kind))
    if random.random() < 0.4:
        about = json_text(odd_tree({"info": {"features": {"label": {"names": ["cat", "dog"]}}}}, random), random)
        names = random.choice((b'["a", "b"]', b"[[1], 2]", b"7", b'"ab"', b"[" * 100_000, ESCAPES.encode()))
        metadata = {b"huggingface": about, b"class_names": names, b"class_split": names}
        chosen = random.sample(sorted(metadata), random.choice((1, 2)))
        table = table.replace_schema_metadata({name: metadata[name] for name in chosen})
    pq.write_table(table, target, compression=random.choice(("snappy", "none", "gzip")))


def read_parquet(corpus: Path, place: Path) -> Texts:
    """Open it as a set of images."""
    return _everything_of(place / "images", place)


# ---------------------------------------------------------------- what a run writes


def write_recipe(corpus: Path, place: Path, random: Random) -> None:
    """A recipe.json with values of other types, with what JSON does not know, or cut short."""
    content = (corpus / "run" / "recipe.json").read_bytes()
    if random.random() < 0.3:
        recipe = small_recipe(random.choice(("eir(moco)", "invp", "amdim", "byol", "isif", "npid", "interclr(simclr)")))
        stored = {"data": "x", "address": None, "fingerprint": None, "images": 9, "recipe": settings_to_dict(recipe)}
        content = json.dumps(stored).encode()
    (place / "run").mkdir()
    (place / "run" / "recipe.json").write_bytes(_damaged_json(content, random))


def _damaged_json(content: bytes, random: Random) -> bytes:
    change = random.random()
    if change < 0.1:
        return damage(content, random)
    return json_text(odd_tree(json.loads(content), random) if change < 0.8 else json.loads(content), random)


def read_recipe(corpus: Path, place: Path) -> Texts:
    """Read the settings, and write them again."""
    stored = read_run_settings(place / "run")
    write_settings(place / "again", stored)
    if settings_to_dict(read_run_settings(place / "again").recipe) != settings_to_dict(stored.recipe):
        raise WronglyReadError("settings that were written again differ")
    texts = _refused(lambda: [stored.images_from().name])
    return texts + _refused(lambda: [str(len(read_record(place / "run").settings))])


def write_log(corpus: Path, place: Path, random: Random) -> None:
    """A run whose metrics.jsonl has damaged lines."""
    (place / "run").mkdir()
    (place / "run" / "recipe.json").write_bytes((corpus / "run" / "recipe.json").read_bytes())
    content = (corpus / "run" / "metrics.jsonl").read_bytes()
    if random.random() < 0.3:
        content = damage(content, random)
    else:
        lines = content.splitlines()
        for _ in range(random.choice((1, 1, 3))):
            number = random.choice((0, len(lines) - 1, random.randrange(len(lines))))
            lines[number] = _damaged_json(content.splitlines()[0], random)
        content = b"\n".join(lines) + random.choice((b"\n", b""))
    (place / "run" / "metrics.jsonl").write_bytes(content)


def read_log(corpus: Path, place: Path) -> Texts:
    """Read the log by itself and as part of the run, and draw it."""
    lines = read_metrics(place / "run" / "metrics.jsonl")
    if not all(isinstance(line.get("step"), int) for line in lines):
        raise WronglyReadError("a line without its step")
    read_record(place / "run")
    drawing = draw_curves_of([str(place / "run")], ())
    return [drawing.title] if hasattr(drawing, "title") else []


def write_evaluation(corpus: Path, place: Path, random: Random) -> None:
    """A run with a damaged evaluation."""
    (place / "run").mkdir()
    (place / "run" / "recipe.json").write_bytes((corpus / "run" / "recipe.json").read_bytes())
    content = (corpus / "run" / "evaluation-knn.json").read_bytes()
    (place / "run" / "evaluation-knn.json").write_bytes(_damaged_json(content, random))


def read_evaluation(corpus: Path, place: Path) -> Texts:
    """Read the results by themselves and as part of the run, show them and write them again."""
    results = Results(read_results(place / "run" / "evaluation-knn.json"))
    for shown in (repr(results), results._repr_html_(), *map(repr, results)):
        if not isinstance(shown, str):
            raise WronglyReadError("results that cannot be shown")
    read_record(place / "run")
    write_results(place / "again.json", results)
    return []


# ---------------------------------------------------------------- weights


def write_backbone(corpus: Path, place: Path, random: Random) -> None:
    """Damaged weights, or sound ones with another description."""
    content = (corpus / "run" / BACKBONE).read_bytes()
    change = random.random()
    if change < 0.6:
        content = damage(content, random)
    elif change < 0.7:
        length = random.choice((0, 1, 2**20, 2**31, 2**63, 2**64 - 1, len(content) - 8, 99_999_999))
        content = length.to_bytes(8, "little") + content[8:]
    else:
        metadata, tensors = read_safetensors(corpus / "run" / BACKBONE)
        facts = json_text(odd_tree(json.loads(metadata[KEY]), random), random)
        metadata = {KEY: facts.decode("utf-8", "replace"), **({ESCAPES: "x"} if random.random() < 0.1 else {})}
        if random.random() < 0.2:
            name = random.choice(sorted(tensors))
            value = tensors.pop(name)
            others = (value.double(), value.half(), value.flatten()[:1], value * math.nan, torch.zeros(0))
            tensors[random.choice((name, name, ESCAPES, "k" * 5000))] = random.choice(others).contiguous()
        content = sorted_safetensors(sealed_safetensors(tensors, metadata))
    (place / BACKBONE).write_bytes(content)


def read_backbone(corpus: Path, place: Path) -> Texts:
    """Load it, and open it as a model; bytes that changed must not pass for what was written."""
    texts = _refused(lambda: [str(load_backbone(place / BACKBONE).image_size)])
    model = open_model(str(place / BACKBONE), "backbone", torch.device("cpu"))
    _same_or_described(corpus / "run" / BACKBONE, place / BACKBONE)
    backbone: Any = model.encoder
    with torch.inference_mode():
        backbone(torch.zeros(1, backbone.config.channels, 32, 32))
    return [*texts, model.name]


def _same_or_described(sound: Path, path: Path) -> None:
    """Refuse weights other than the sound file's, unless they have a checksum of their own."""
    if sound.read_bytes() == path.read_bytes():
        return
    stated = [read_safetensors(one)[0].get("checksum") for one in (sound, path)]
    if None in stated or stated[0] == stated[1]:
        raise WronglyReadError("damaged weights were loaded")


def write_checkpoint(corpus: Path, place: Path, random: Random) -> None:
    """A damaged checkpoint, or a sound one of something else."""
    content = (corpus / "run" / CHECKPOINT).read_bytes()
    if random.random() < 0.75:
        (place / CHECKPOINT).write_bytes(damage(content, random))
        return
    state = load_checkpoint(corpus / "run" / CHECKPOINT)
    for _ in range(random.choice((1, 2)) if {"method", "images", "progress"} <= state.keys() else 0):
        holder = random.choice((state, state["method"], state["images"], state["progress"]))
        if isinstance(holder, dict) and holder:
            key = random.choice(sorted(holder))
            holder[key] = random.choice((odd_value(random), torch.zeros(3), torch.full((2, 2), math.nan)))
    if random.random() < 0.4:
        text = json_text(odd_tree(json.loads(describe_of(corpus)), random), random)
        state["backbone"] = text.decode("utf-8", "replace")
    if random.random() < 0.5:
        save_checkpoint(place / CHECKPOINT, state)
    else:
        torch.save(random.choice((state, [1], {}, torch.zeros(2), {"format": 1}, {"format": 2})), place / CHECKPOINT)


def describe_of(corpus: Path) -> str:
    """The description of the backbone in the sound checkpoint."""
    return load_checkpoint(corpus / "run" / CHECKPOINT)["backbone"]


def read_checkpoint(corpus: Path, place: Path) -> Texts:
    """Load it as a checkpoint and as a backbone, alone and in its run."""
    changed = (corpus / "run" / CHECKPOINT).read_bytes() != (place / CHECKPOINT).read_bytes()
    texts = _refused(lambda: [str(load_backbone(place / CHECKPOINT).image_size)])
    (place / "recipe.json").write_bytes((corpus / "run" / "recipe.json").read_bytes())
    texts += _refused(lambda: [open_model(str(place), "embedding", torch.device("cpu")).name])
    state = load_checkpoint(place / CHECKPOINT)
    if changed and _same_state(load_checkpoint(corpus / "run" / CHECKPOINT), state):
        raise WronglyReadError("a damaged checkpoint was loaded")
    return texts


def _same_state(one: Any, other: Any) -> bool:
    """Whether a checkpoint has the tensors' shapes and the values of the sound one, so that it passes for it."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same_state(value, other[key]) for key, value in one.items())
    return type(one) is type(other) and one == other


# ---------------------------------------------------------------- tables


def write_embedding_table(corpus: Path, place: Path, random: Random) -> None:
    """A damaged file of embeddings, or one with other columns."""
    _damaged_table(corpus / "tables" / "embeddings.parquet", place / "embeddings.parquet", random)


def read_embedding_table(corpus: Path, place: Path) -> Texts:
    """Read it, and what it says of itself."""
    path = place / "embeddings.parquet"
    texts = _refused(lambda: [str(len(str(described(path, read_schema(path)))))])
    read = read_embeddings(path)
    if len(read.keys) != len(read) or len(read.index) != len(read) or read.embeddings.dtype != torch.float32:
        raise WronglyReadError("columns of different lengths")
    names = read.class_names
    if len(names) != len(read) or not all(name is None or isinstance(name, str) for name in names):
        raise WronglyReadError("class names that are no texts")
    repr(read)
    return texts


def write_evidence_table(corpus: Path, place: Path, random: Random) -> None:
    """A damaged table of related images or of assignments."""
    name = random.choice(("evidence.parquet", "assignments.parquet"))
    _damaged_table(corpus / "tables" / name, place / name, random)


def read_evidence_table(corpus: Path, place: Path) -> Texts:
    """Read it."""
    path = next(place.glob("*.parquet"))
    if path.name == "evidence.parquet":
        for row in read_related(path):
            if not isinstance(row.path, str) or not isinstance(row.anchor, int) or None in row.images:
                raise WronglyReadError(f"a row that is none: {row}")
    else:
        for part in read_assignments(path):
            if part.components.ndim != 2:
                raise WronglyReadError("an assignment that is no map")
    return []


def _damaged_table(sound: Path, target: Path, random: Random) -> None:
    if random.random() < 0.5:
        target.write_bytes(damage(sound.read_bytes(), random))
        return
    table = pq.read_table(sound)
    for _ in range(random.choice((1, 1, 2))):
        number = random.randrange(table.num_columns)
        name, column = table.column_names[number], table.column(number)
        change = random.randrange(7)
        if change == 0:
            table = table.remove_column(number) if table.num_columns > 1 else table
        elif change == 1:
            values = column.to_pylist()
            values[random.randrange(len(values))] = None
            table = table.set_column(number, table.schema.field(number), pa.array(values, column.type))
        elif change == 2:
            others = ([None] * len(table), [1.5] * len(table), [ESCAPES] * len(table), [[1]] * len(table))
            table = table.set_column(number, name, pa.array(random.choice(others)))
        elif change == 3:
            table = table.append_column(random.choice((name, ESCAPES, "k" * 2000)), column)
        elif change == 4:
            table = table.slice(0, random.choice((0, 1)))
            break
        elif change == 5:
            about = json.loads((pq.read_schema(sound).metadata or {})[b"viewkin"])
            table = table.replace_schema_metadata({b"viewkin": json_text(odd_tree(about, random), random)})
        elif pa.types.is_integer(column.type):
            top = 2**31 - 1 if column.type == pa.int32() else 2**63 - 1
            values = [random.choice((-1, 0, top, 10**6)) for _ in range(len(table))]
            table = table.set_column(number, table.schema.field(number), pa.array(values, column.type))
        else:
            table = table.rename_columns([name.upper() if i == number else n for i, n in enumerate(table.column_names)])
    pq.write_table(table, target)


def _refused(read: Callable[[], Texts]) -> Texts:
    """Read; a sentence that refuses is one more text to look at."""
    try:
        return read()
    except UserError as error:
        return [str(error)]


KINDS: dict[str, Kind] = {
    "images": Kind(30, write_image, read_images),
    "parquet": Kind(15, write_parquet, read_parquet),
    "recipe": Kind(15, write_recipe, read_recipe),
    "log": Kind(8, write_log, read_log),
    "evaluation": Kind(6, write_evaluation, read_evaluation),
    "backbone": Kind(9, write_backbone, read_backbone),
    "checkpoint": Kind(6, write_checkpoint, read_checkpoint),
    "embeddings": Kind(6, write_embedding_table, read_embedding_table),
    "evidence": Kind(5, write_evidence_table, read_evidence_table),
}
"""Name to kind; the shares add up to a hundred."""


def kind_of(number: int) -> str:
    """Name the kind of a case: each hundred cases has every kind by its share, spread evenly."""
    place = number * 37 % 100
    for name, kind in KINDS.items():
        if place < kind.share:
            return name
        place -= kind.share
    raise AssertionError("the shares do not add up to a hundred")


def write_case(corpus: Path, place: Path, number: int) -> None:
    """Write the files of a case into an empty folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        KINDS[kind_of(number)].write(corpus, place, Random(f"viewkin {number}"))


def read_case(corpus: Path, place: Path, number: int) -> Texts:
    """Read the files of a case."""
    return KINDS[kind_of(number)].read(corpus, place)
