"""Show that a change moved no number: train, embed and evaluate every learner here and at another commit, compare.

    python scripts/same_numbers.py --against HEAD~1
    python scripts/same_numbers.py --against HEAD~1 --only moco interclr
    python scripts/same_numbers.py --digests here.json        # print and keep the digests of this checkout alone

Each learner, and each term on one base, trains for a dozen steps on generated images, then embeds them and is judged by
kNN and by a linear probe; one learner is judged by every other protocol, and two more read their images from files.
What is compared: weights, memory and optimiser in the checkpoint, the log without its clocks, the embeddings, the
results. Only the command line is used, so the layout of the package may differ. Equal means equal in every bit.

The other commit runs in a git worktree, in this environment, or in one of its own where its dependencies differ.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from checkouts import ROOT, checkout, subject

Digests = dict[str, dict[str, str]]
"""Case to part (weights, memory, log, ...) to digest."""
IMAGES = "generated:images=100,classes=4,size=32"
BASE = ("--set", "method.base.queue_size=20")
KIN = ("--set", "method.graph.neighbours=2", "--set", "method.graph.positives=3", "--set", "method.candidates=20")
EARLY = ("--set", "method.ramp.epochs=0")
CLUSTERED = ("--set", "method.clusters=2", "--set", "method.negatives=8", "--set", "method.pool=0.5")
CASES: dict[str, tuple[str, ...]] = {
    "npid": ("--recipe", "npid_cifar10"),
    "npid-infonce": ("--recipe", "npid_cifar10", "--set", "method.loss=infonce", "--set", "method.negatives=20"),
    "iraug": ("--recipe", "iraug_cifar10"),
    "simclr": ("--recipe", "simclr_cifar10"),
    "moco": ("--recipe", "moco_cifar10", "--set", "method.queue_size=20"),
    "byol": ("--recipe", "byol_cifar10", "--set", "method.hidden=64"),
    "isif": ("--recipe", "isif_cifar10"),
    "invp": ("--recipe", "invp_cifar10", *KIN, *EARLY),
    "amdim": ("--recipe", "amdim_resnet_cifar10"),
    "amdim-encoder": ("--recipe", "amdim_cifar10", "--set", "backbone.rkhs=64", "--set", "backbone.depth=1"),
    "eir": ("--recipe", "eir_cifar10"),
    "eir(moco)": ("--recipe", "moco_cifar10", "--method", "eir(moco)", *BASE),
    "propagation(moco)": ("--recipe", "moco_cifar10", "--method", "propagation(moco)", *BASE, *KIN, *EARLY),
    "interclr(npid)": ("--recipe", "npid_cifar10", "--method", "interclr(npid)", *CLUSTERED),
    "interclr(byol)": ("--recipe", "byol_cifar10", "--method", "interclr(byol)", "--set", "method.clusters=2"),
    "eir(interclr(simclr))": ("--recipe", "simclr_cifar10", "--method", "eir(interclr(simclr))"),
    "photos": (),
    "folder": ("--recipe", "simclr_cifar10"),
    "parquet": ("--recipe", "simclr_cifar10", "--set", "data.accumulate=2"),
}
"""Name to the arguments of ``viewkin train``; all get a narrow network, batches of 16 and two epochs."""
PROTOCOLS: dict[str, tuple[str, ...]] = {
    "knn": ("--set", "k=5,20"),
    "linear": ("--set", "epochs=2"),
}
MORE_PROTOCOLS: dict[str, tuple[str, ...]] = {
    "mlp": ("--set", "epochs=2"),
    "retrieval": (),
    "cluster": ("--set", "clusters=4"),
    "finetune": ("--set", "epochs=1"),
    "stages": ("--set", "epochs=1"),
    "svm": (),
}
"""Judged for the case ``simclr`` alone."""


def main() -> None:
    """Compare this checkout with another commit, or keep its digests."""
    options = arguments()
    if options.run:
        print(json.dumps(measured(options.only)))
        return
    here = digests(ROOT, Path(sys.executable), options.only)
    if options.digests:
        options.digests.write_text(json.dumps(here, indent=1) + "\n")
    if options.with_digests:
        there, name = json.loads(options.with_digests.read_text()), str(options.with_digests)
        there = {case: parts for case, parts in there.items() if case in here}
    elif options.against:
        with checkout(options.against) as other:
            name = subject(other)
            there = digests(other, python_for(other), options.only)
    else:
        for case, parts in here.items():
            print(f"{case:24s}" + "  ".join(f"{part} {digest}" for part, digest in parts.items()))
        return
    sys.exit(1 if compared(here, there, name) else 0)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", help="commit to compare with")
    parser.add_argument("--only", nargs="+", choices=list(CASES), help="some of the cases")
    parser.add_argument("--digests", type=Path, metavar="FILE", help="keep the digests of this checkout as JSON")
    parser.add_argument("--with-digests", type=Path, metavar="FILE", help="compare with digests kept earlier here")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def compared(here: Digests, there: Digests, name: str) -> int:
    """Print a line a case; return how many parts differ."""
    wrong = 0
    for case, parts in here.items():
        other = there.get(case)
        differing = [part for part in {**parts, **(other or {})} if other is None or parts.get(part) != other.get(part)]
        wrong += len(differing)
        print(f"{case:24s}" + ("same" if not differing else f"DIFFERENT: {', '.join(differing)}"), flush=True)
    parts = sum(map(len, here.values()))
    print(f"{parts - wrong} of {parts} digests in {len(here)} cases are those of {name}.")
    return wrong


def python_for(place: Path) -> Path:
    """Give the interpreter for a checkout: this one, or one with the dependencies that the checkout names."""
    same = all((place / name).read_text() == (ROOT / name).read_text() for name in ("constraints.txt",))
    if same and dependencies(place) == dependencies(ROOT):
        return Path(sys.executable)
    print("Its dependencies differ, so it gets an environment of its own (about a minute) ...", flush=True)
    python = place / ".venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(place / ".venv")], check=True)
    install = ["-m", "pip", "--disable-pip-version-check", "-q", "install", "-c", "constraints.txt", "-e", "."]
    subprocess.run([str(python), *install], cwd=place, check=True, stderr=subprocess.DEVNULL)
    return python


def dependencies(place: Path) -> list[str]:
    """Read what a checkout needs to run."""
    import tomllib

    return sorted(tomllib.loads((place / "pyproject.toml").read_text())["project"]["dependencies"])


def digests(place: Path, python: Path, only: list[str] | None) -> Digests:
    """Run the cases with the package of a checkout, in a process of its own."""
    command = [str(python), str(Path(__file__).resolve()), "--run", *(["--only", *only] if only else [])]
    environment = {**os.environ, "PYTHONPATH": str(place / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: the cases did not run in {place}.")
    return json.loads(done.stdout.splitlines()[-1])


def measured(only: list[str] | None) -> Digests:
    """Run the cases with the package that this process imports."""
    import torch

    import viewkin

    torch.set_num_threads(1)
    found: Digests = {}
    with tempfile.TemporaryDirectory() as folder, kept_cache(Path(folder)), contextlib.chdir(folder):
        images = {"folder": "pictures", "parquet": "pictures.parquet"}
        write_pictures(Path("pictures"), Path("pictures.parquet"))
        for name, given in CASES.items():
            if only and name not in only:
                continue
            began = time.monotonic()
            found[name] = case(name, images.get(name, IMAGES), given)
            told = f"{name}: {time.monotonic() - began:.0f} s ({Path(viewkin.__file__).parent})"
            print(told, file=sys.stderr, flush=True)
    return found


@contextlib.contextmanager
def kept_cache(folder: Path) -> Iterator[None]:
    """Keep decoded images in a folder of its own."""
    os.environ["VIEWKIN_CACHE"] = str(folder / "cache")
    yield


def case(name: str, images: str, given: tuple[str, ...]) -> dict[str, str]:
    """Train, embed and judge one learner; digest what it left."""
    import torch

    out = Path("runs") / name
    narrow = () if name == "photos" else ("--set", "backbone.width=8")
    small = ("--epochs", "2", "--batch-size", "16", "--set", "runtime.log_every=3", "--set", "runtime.workers=0")
    viewkin("train", images, *given, *narrow, *small, "--out", str(out))
    state = torch.load(out / "last.ckpt", map_location="cpu", weights_only=True)
    parts = {
        "method": of(state["method"]),
        "optimizer": of(state["optimizer"]),
        "log": of(read_log(out / "metrics.jsonl")),
        "trained": of(values(out / "evaluation-knn.json")),
    }
    test = ("--holdout", "0.3")
    for features in ("backbone", "embedding"):
        viewkin(
            "embed", str(out), images, "--split", "train", "--features", features, "--out", f"{out}/{features}.parquet"
        )
        parts[features] = of(embeddings(out / f"{features}.parquet"))
    more = MORE_PROTOCOLS if name == "simclr" else {}
    for protocol, settings in {**PROTOCOLS, **more}.items():
        target = out / f"{protocol}.json"
        split = ("--test-split", "train") if protocol in ("retrieval", "cluster") else test
        viewkin("evaluate", protocol, str(out), images, *split, *settings, "--out", str(target))
        parts[protocol] = of(values(target))
    return parts


def viewkin(*arguments: str) -> None:
    """Run a command of the package in this process.

    Raises:
        SystemExit: it failed; its last lines were printed.
    """
    from viewkin.cli import main

    said, told = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
            main(list(arguments))
    except SystemExit as done:
        if done.code in (0, None):
            return
        tail = "\n".join((said.getvalue() + told.getvalue()).splitlines()[-8:])
        print(f"viewkin {' '.join(arguments)}\n{tail}", file=sys.stderr)
        raise


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read a log without what it says of time."""
    clocks = {"images_per_second", "cpu_seconds"}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in clocks} for line in lines]


def values(path: Path) -> list[Any]:
    """Read what was measured, without seconds, commits and settings."""
    return [[row["model"], row["values"]] for row in json.loads(path.read_text())]


def embeddings(path: Path) -> Any:
    """Read the rows of a file of embeddings."""
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=["embedding"])["embedding"].combine_chunks().flatten().to_numpy()


def of(content: Any) -> str:
    """Digest tensors, arrays and JSON values, nested, by every bit."""
    digest = hashlib.blake2b(digest_size=6)
    feed(digest, content)
    return digest.hexdigest()


def feed(digest: Any, content: Any) -> None:
    """Add a value to a digest."""
    if isinstance(content, Mapping):
        for key in sorted(content, key=str):
            digest.update(f"{key}:".encode())
            feed(digest, content[key])
    elif isinstance(content, (list, tuple)):
        for one in content:
            feed(digest, one)
            digest.update(b",")
    elif hasattr(content, "detach"):
        digest.update(f"{content.dtype}{tuple(content.shape)}".encode())
        digest.update(content.detach().contiguous().flatten().view(dtype=uint8()).numpy().tobytes())
    elif hasattr(content, "tobytes"):
        digest.update(f"{content.dtype}{content.shape}".encode() + content.tobytes())
    else:
        digest.update(json.dumps(content).encode())


def uint8() -> Any:
    """Torch's type of a byte."""
    import torch

    return torch.uint8


def write_pictures(folder: Path, parquet: Path) -> None:
    """Write photographs of three sizes in class folders, and the same in Parquet with labels."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for i in range(100):
        label, sides = i % 4, [(48, 40), (40, 56), (36, 36)][i % 3]
        colour = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [180, 180, 60]][label])
        pixels = (colour + random.integers(-50, 50, (*sides, 3))).clip(0, 255).astype(np.uint8)
        place = folder / f"class{label}" / f"{i:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
        rows.append({"image": {"bytes": place.read_bytes(), "path": place.name}, "label": label})
    pq.write_table(pa.Table.from_pylist(rows), parquet)


if __name__ == "__main__":
    main()
