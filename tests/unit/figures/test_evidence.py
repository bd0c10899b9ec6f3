import pyarrow.parquet as pq
import pytest
import torch

from viewkin.figures.evidence import (
    PartAssignments,
    RelatedImages,
    read_assignments,
    read_related,
    write_assignments,
    write_related,
)
from viewkin.runtime.errors import UserError

FINDS = [
    RelatedImages(3, "a/b.jpg", "interclr/positives", (5, 3), (0.5, 1.0)),
    RelatedImages(3, "a/b.jpg", "interclr/negatives", (), ()),
    RelatedImages(7, "c.jpg", "invp/hop1", (1,)),
]


def test_finds_come_back_as_they_were_written(tmp_path):
    write_related(tmp_path / "x.parquet", FINDS, {"run": "mine", "images": 9})
    assert read_related(tmp_path / "x.parquet") == FINDS
    schema = pq.read_schema(tmp_path / "x.parquet")
    assert schema.names == ["anchor", "path", "what", "image", "similarity"]
    assert schema.metadata[b"viewkin"] == b'{"run": "mine", "images": 9}'


def test_parts_come_back_as_maps(tmp_path):
    parts = torch.tensor([[0, 1, 2], [3, 4, 5]])
    write_assignments(tmp_path / "x.parquet", [PartAssignments(2, "a", "amdim/7", parts)], {})
    (found,) = read_assignments(tmp_path / "x.parquet")
    assert (found.anchor, found.path, found.what) == (2, "a", "amdim/7")
    assert torch.equal(found.components, parts)


def test_only_names_that_begin_with_negatives_are_strangers():
    names = ("interclr/negatives", "interclr/negatives_hard", "interclr/positives", "negatives/kin")
    assert [RelatedImages(0, "", name, ()).negatives for name in names] == [True, True, False, False]


def test_another_file_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "no.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        read_related(tmp_path / "no.parquet")
    write_related(tmp_path / "x.parquet", FINDS, {})
    with pytest.raises(UserError, match="has other columns than anchor, path, what, height"):
        read_assignments(tmp_path / "x.parquet")
