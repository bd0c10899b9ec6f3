"""Budgets, measures and reasons that several campaigns share."""

from __future__ import annotations

from dataclasses import replace

from viewkin.campaigns.campaign import Absent, Budget, Column, Evaluation

NARROW = ("runtime.checkpoint_minutes=5", "backbone.width=16", "augment.view_size=24")
MINI = Budget(
    name="mini",
    about="10,000 images of CIFAR-10, 200 epochs, batches of 128, a ResNet-18 of width 16, views of 24 px, one thread",
    epochs=200,
    batch_size=128,
    settings=NARROW,
    images=10_000,
    threads=1,
)
HALF = replace(
    MINI,
    about="10,000 images, 100 epochs, batches of 128, a ResNet-18 of width 16, views of 24 px, one thread",
    epochs=100,
)
WHOLE = replace(
    MINI,
    about="all images of CIFAR-10, 200 epochs, batches of 128, a ResNet-18 of width 16, views of 24 px, one thread",
    images=None,
)
FULL = Budget(name="full", about="images, network, batch and epochs as published; for a GPU")

KNN = "k=5,20,200"
EVALUATIONS = (
    Evaluation(protocol="knn", file="evaluation-knn-backbone.json", settings=(KNN,)),
    Evaluation(protocol="retrieval", file="evaluation-retrieval-backbone.json", split="test"),
    Evaluation(protocol="knn", file="evaluation-knn-embedding.json", features="embedding", settings=(KNN,)),
    Evaluation(protocol="retrieval", file="evaluation-retrieval-embedding.json", features="embedding", split="test"),
    Evaluation(protocol="linear", file="evaluation-linear.json"),
)
KNN_BACKBONE = Column(key="knn200", title="kNN (200), backbone", protocol="knn", measure="knn@200")
KNN_EMBEDDING = Column(
    key="knn200_embedding", title="kNN (200), embedding", protocol="knn", measure="knn@200", features="embedding"
)
LINEAR = Column(key="linear", title="linear, backbone", protocol="linear", measure="linear top-1")
RECALL = Column(key="r1_embedding", title="R@1, embedding", protocol="retrieval", measure="R@1", features="embedding")
RECALL_BACKBONE = Column(key="r1", title="R@1, backbone", protocol="retrieval", measure="R@1")
COLUMNS = (KNN_EMBEDDING, KNN_BACKBONE, LINEAR, RECALL)
BY_BACKBONE = ("knn200", "linear")
BY_EMBEDDING = ("knn200_embedding", "linear")
"""What decides a claim: kNN of the backbone, or of the embedding where the paper judges that, and the linear probe."""

SEMI = "it learns from labels and images together; viewkin trains without labels"
ABSENT = (
    Absent(name="Pseudo-label", why=SEMI, row="method=Pseudo-label"),
    Absent(name="VAT with entropy minimisation", why=SEMI, row="method=VAT"),
    Absent(name="S4L", why=SEMI, row="method=S4L"),
    Absent(
        name="PSLR",
        why="its released repository is empty, and the abstract does not say enough to write it",
        row="method=PSLR",
    ),
    Absent(
        name="BigBiGAN",
        why="it is a generative model: a generator and a discriminator, neither of which viewkin has",
        row="method=BigBiGAN",
    ),
)
