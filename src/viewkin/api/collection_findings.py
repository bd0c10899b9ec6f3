"""What a collection's images are like: duplicates, outliers, quality, doubtful labels, clusters, what to label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from viewkin.api.notebook import progress_where_seen
from viewkin.collection.findings import Findings
from viewkin.collection.label_column import Labels
from viewkin.commands.clusters import ClustersRequest, cluster_images
from viewkin.commands.duplicates import DuplicatesRequest
from viewkin.commands.duplicates import duplicates as find_duplicates
from viewkin.commands.finding_files import check_finding_file, write_findings
from viewkin.commands.label import LabelRequest, label_images
from viewkin.commands.outliers import OutliersRequest, list_outliers
from viewkin.commands.quality import QualityRequest
from viewkin.commands.quality import quality as find_quality
from viewkin.commands.select import SelectRequest
from viewkin.commands.select import select as choose
from viewkin.commands.suspects import SuspectsRequest, list_suspects


class FoundTable(Findings):
    """Findings that can be saved. Iterating gives a dict a row, ``found["key"]`` a column."""

    def save(self, path: Path | str) -> None:
        """Write a file, by its ending: ``.csv``, ``.parquet`` or ``.json``.

        Raises:
            UserError: another ending, or a place that cannot be written.
        """
        check_finding_file(Path(path))
        write_findings(Path(path), self)


class CollectionFindings:
    """The functions of a collection that look at all its images. They see the collection as it is on the disk now."""

    path: Path
    """Folder of the collection."""
    model_place: str | None
    """Where its model is, if it has moved."""

    def duplicates(
        self,
        *,
        near: float | None = None,
        scene: float | None = None,
        not_duplicates: Sequence[tuple[str, str]] = (),
        link: Path | str | None = None,
        hard: bool = False,
    ) -> FoundTable:
        """List pictures that are there more than once. Nothing is deleted.

        Args:
            near: likeness of pixels from which two are the same picture; None: chosen by copies of the images.
            scene: similarity from which two show the same scene; None: chosen likewise.
            not_duplicates: pairs of keys to remember as no duplicates.
            link: new folder to fill with links to the images that are kept.
            hard: make hard links.

        Raises:
            UserError: a key or number that does not fit, or a folder that cannot be filled.
        """
        request = DuplicatesRequest(
            collection=self.path,
            near=near,
            scene=scene,
            not_duplicates=not_duplicates,
            link=None if link is None else Path(link),
            hard=hard,
            model=self.model_place,
        )
        with progress_where_seen():
            return _shown(find_duplicates(request))

    def outliers(self, count: int | None = None, *, k: int = 10) -> FoundTable:
        """List the images that are like few others, by the distance to their k-th nearest.

        Args:
            count: images to list; None: one in a hundred, ten at least.
            k: neighbour that the distance is measured to.

        Raises:
            UserError: a number below 1.
        """
        return _shown(list_outliers(OutliersRequest(collection=self.path, count=count, k=k)))

    def quality(self, only: Sequence[str] = ()) -> FoundTable:
        """List pictures that are blurred, dark, overexposed, nearly empty, of odd shape or tiny.

        Args:
            only: only these: ``blurred``, ``dark``, ``bright``, ``low-information``, ``odd-aspect``, ``tiny``.

        Raises:
            UserError: an unknown issue.
        """
        with progress_where_seen():
            return _shown(find_quality(QualityRequest(collection=self.path, only=only)))

    def suspects(
        self, labels: Path | str | Mapping[str, str | int] | None = None, *, count: int | None = None, k: int = 10
    ) -> FoundTable:
        """List labels that the other images contradict.

        Args:
            labels: file with the columns key and label, or labels by key; None: the collection's own.
            count: images to list; None: all of which another class is more probable.
            k: neighbours that are the evidence.

        Raises:
            UserError: fewer than two classes, or a file that cannot be read.
        """
        request = SuspectsRequest(collection=self.path, labels=_labels(labels), count=count, k=k)
        return _shown(list_suspects(request))

    def clusters(self, k: int | None = None, *, sheets: Path | str | None = None, seed: int = 0) -> FoundTable:
        """Cluster the images; which cluster an image is in is a column.

        Args:
            k: number of clusters; None: chosen.
            sheets: folder for a contact sheet (PNG) of each cluster.
            seed: of the initial centres.

        Raises:
            UserError: a number that does not fit, or a folder that cannot be written.
        """
        place = None if sheets is None else Path(sheets)
        with progress_where_seen():
            return _shown(cluster_images(ClustersRequest(collection=self.path, count=k, sheets=place, seed=seed)))

    def select(
        self,
        count: int,
        *,
        labelled: Path | str | Sequence[str] | None = None,
        method: str = "typical",
        seed: int = 0,
    ) -> FoundTable:
        """Choose images to label first: a few that stand for all.

        Args:
            count: how many.
            labelled: what is labelled: a file with a column key, a list of keys, or ``"label"`` for images that have a
                label in the collection.
            method: ``typical``, ``k-centre`` or ``random``.
            seed: of all draws.

        Raises:
            UserError: fewer images than asked for, or a key or file that is not there.
        """
        done = str(labelled) if isinstance(labelled, Path) else labelled
        request = SelectRequest(collection=self.path, count=count, labelled=done, method=method, seed=seed)
        return _shown(choose(request))

    def label(
        self,
        labels: Path | str | Mapping[str, str | int] | None = None,
        *,
        least_confidence: float = 0.0,
        k: int = 10,
    ) -> FoundTable:
        """Pass a few labels on to all images, with a confidence.

        Args:
            labels: file with the columns key and label, or labels by key; None: the collection's own.
            least_confidence: confidence below which an image gets no label.
            k: labelled images that vote.

        Raises:
            UserError: no label, or a file that cannot be read.
        """
        request = LabelRequest(collection=self.path, labels=_labels(labels), least_confidence=least_confidence, k=k)
        return _shown(label_images(request))


def _labels(labels: Path | str | Mapping[str, str | int] | None) -> Labels:
    return Path(labels) if isinstance(labels, str) else labels


def _shown(found: Findings) -> FoundTable:
    return FoundTable(found.table(), found.notes, found.shown)
