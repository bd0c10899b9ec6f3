"""What each logged series means, in a phrase for a reader of the report."""

from __future__ import annotations

PHRASES = {
    "loss": "What training lowers. Its level depends on the method; that it falls is what counts.",
    "gradient_norm": "Size of the gradient. Sudden peaks: the learning rate may be too high.",
    "images_per_second": "Speed of training.",
    "spread": "Variety of the embeddings. Near 1 is healthy; near 0 all images get the same vector.",
    "effective_rank": "Dimensions that the embeddings use. A fall to 1 or 2 is a collapse.",
    "pair_accuracy": "Share of images whose two views find each other in the batch. Rises with learning.",
    "lr": "Learning rate, as planned.",
    "knn_monitor": "Share of held-out training images that their nearest neighbours name rightly. Rises with learning.",
    "linear_monitor": "Share of held-out training images that a linear classifier on the features names rightly.",
    "mlp_monitor": "Share of held-out training images that a small network on the features names rightly.",
}
"""Name of a series to its phrase."""
KINDS = {
    "clusters_min": "Images in the smallest cluster.",
    "clusters_median": "Images in a cluster of middle size.",
    "clusters_max": "Images in the largest cluster. Far above the median: the clusters degenerate.",
    "label_churn": "Share of images whose cluster changed since the epoch began. Falls as clusters settle.",
    "small_cluster_moves": "Images moved so that no cluster is too small.",
    "churn": "Share of new edges in the last update of the neighbour graph. Falls as the graph settles.",
    "instance": "Mean loss that tells images apart; the term begins when it is low enough.",
}
"""Last word of a series' name to its phrase."""


def phrase_of(name: str) -> str:
    """Explain a series; empty where its name says all that is known."""
    (owner, _, inner), last = name.partition("/"), name.rpartition("/")[2]
    if name in PHRASES:
        return PHRASES[name]
    if owner == "term":
        return f"The part of the loss that {inner} gives, with its weight."
    if owner == "gradient":
        return f"Size of the gradient of {inner} alone. 0: nothing is learnt from it."
    if last.endswith("_purity"):
        return "Share of the images taken for positives that have the anchor's label. Labels only measure this."
    if last.endswith("_false"):
        return "Share of the negatives that have the anchor's label, so should not be pushed away."
    return KINDS.get(last, "")
