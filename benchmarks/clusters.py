"""k-means and the graph of nearest neighbours at ImageNet's size, ours beside FAISS; a slice where all takes hours.

    python benchmarks/clusters.py --threads 2

One round of assignment is measured on ``--slice`` points and scaled to all of them and 20 rounds; so is FAISS's. The
graph is a bank's search for the neighbours of ``--queries`` rows among all of them, scaled to all: exact in float32,
and in bfloat16 as training on such a processor does it; beside FAISS's cells. Recall leaves out the row itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from interclr import rows_in_heaps
from machine import RESULTS, floor, origin, seconds_of, spread, write

from viewkin.memory.bank import FeatureBank
from viewkin.ops import kmeans

CPU = torch.device("cpu")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_281_167)
    parser.add_argument("--clusters", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--slice", type=int, default=40_000)
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--neighbours", type=int, default=4)
    parser.add_argument("--cells", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "clusters.json")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    report = origin("clusters", options.threads, CPU)
    report |= {name: getattr(options, name) for name in ("images", "clusters", "rounds", "slice", "queries")}
    rows, _ = rows_in_heaps(options.images, options.clusters, CPU)
    report["kmeans"] = of_kmeans(options, rows, report["rates"])
    write(options.out, report)
    report["graph"] = of_graph(options, rows, report["rates"])
    write(options.out, report)


def of_kmeans(options: argparse.Namespace, rows: torch.Tensor, rates: dict[str, float]) -> dict[str, Any]:
    """Seconds of one round on the slice, and of all rounds on all points."""
    points, centroids = rows[: options.slice], rows[-options.clusters :].clone()
    scale = options.images / options.slice * options.rounds
    works = {
        "ours, float32": lambda: kmeans.nearest_centroid(points, centroids),
        "ours, bfloat16 products": lambda: kmeans.nearest_centroid(points, centroids, torch.bfloat16),
    }
    found: dict[str, Any] = {}
    try:
        import faiss

        faiss.omp_set_num_threads(options.threads)

        def with_faiss() -> None:
            index = faiss.IndexFlatL2(points.shape[1])
            index.add(centroids.numpy())
            index.search(points.numpy(), 1)

        works["faiss"] = with_faiss
    except ImportError:
        pass
    for name, work in works.items():
        seconds = spread(seconds_of(work, CPU, options.repeats))
        found[name] = {"round_of_the_slice": seconds, "all_extrapolated": seconds["median"] * scale}
        print(f"k-means, {name}: {found[name]['all_extrapolated'] / 60:.1f} min for all (extrapolated)", flush=True)
    flops = 2.0 * options.images * options.clusters * points.shape[1] * options.rounds
    found["floor"] = floor(rates, flops, 0.0)
    exact = kmeans.nearest_centroid(points, centroids)
    half = kmeans.nearest_centroid(points, centroids, torch.bfloat16)
    found["same_labels"] = float((exact[0] == half[0]).double().mean())
    return found


def of_graph(options: argparse.Namespace, rows: torch.Tensor, rates: dict[str, float]) -> dict[str, Any]:
    """Seconds of the whole graph, by a slice of queries, and of FAISS's cells as they are; and what each finds."""
    k, queries = options.neighbours + 1, rows[: options.queries]
    scale = options.images / options.queries
    bank = FeatureBank(0, rows.shape[1])
    bank.features = rows

    def search(half: bool) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return bank.nearest(queries, k)[1]

    found: dict[str, Any] = {}
    exact = search(half=False)
    for name, half in (("ours, float32", False), ("ours, bfloat16 products", True)):
        seconds = spread(seconds_of(lambda half=half: search(half), CPU, options.repeats))
        whole, recall = seconds["median"] * scale, recall_of(search(half), exact)
        found[name] = {"slice": seconds, "all_extrapolated": whole, "recall": recall}
        print(f"graph, {name}: {whole / 60:.0f} min for all (extrapolated), recall {recall:.4f}", flush=True)
    found["floor"] = floor(rates, 2.0 * options.images**2 * rows.shape[1], 0.0)
    try:
        import faiss
    except ImportError:
        return found
    centre = faiss.IndexFlatIP(rows.shape[1])
    index = faiss.IndexIVFFlat(centre, rows.shape[1], options.cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 5
    index.nprobe = 8
    build = seconds_of(lambda: (index.train(rows[::8].numpy()), index.add(rows.numpy())), CPU, 1, 0)[0]
    some = rows[: 16 * options.queries].numpy()
    slow = seconds_of(lambda: index.search(some, k), CPU, 1)[0]
    recall = recall_of(torch.from_numpy(index.search(queries.numpy(), k)[1]), exact)
    seconds = build + slow * options.images / len(some)
    found["faiss, 4,096 cells"] = {"build": build, "all_extrapolated": seconds, "recall": recall}
    print(f"graph, faiss cells: {seconds / 60:.1f} min for all, recall {recall:.3f}", flush=True)
    return found


def recall_of(got: torch.Tensor, exact: torch.Tensor) -> float:
    """Share of the neighbours of the first rows (Q, k) that were found, each row itself left out."""
    others = exact != torch.arange(len(exact)).unsqueeze(1)
    hit = (got.unsqueeze(1) == exact.unsqueeze(2)).any(2)
    return float(hit[others].double().mean())


if __name__ == "__main__":
    main()
