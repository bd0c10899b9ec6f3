"""Claims about damaged files: each is read or refused by a sentence, in a while, in little memory, without a noise."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fuzz.kinds import KINDS, kind_of, write_case, write_corpus

TESTS = Path(__file__).parents[1]
CASES = 300
EARLIER: dict[str, tuple[int, ...]] = {
    "embeddings with two columns of one name": (16,),
    "embeddings whose class names are no texts": (2070,),
    "EXIF data of which Pillow warns": (17,),
    "a TIFF of which libtiff writes to standard error": (76, 1346),
    "a TIFF of which Pillow's log writes to standard error": (8846,),
    "a backbone whose description is nested too deep": (40,),
    "a backbone whose description is of a network of 864 GB": (2048,),
    "a backbone whose description has a list for a text": (15813,),
    "a recipe that is nested too deep": (50, 61),
    "a recipe whose value is a thousand characters long": (231,),
    "a log whose line is nested too deep": (145,),
    "a log with a series of half a character": (1199,),
    "an evaluation with a number beyond any range": (964,),
    "a Parquet file of images whose pages are damaged": (174,),
    "a Parquet file of images with two columns of one name": (420, 693),
    "a Parquet file of images whose names are no UTF-8": (10366,),
    "a set of Parquet files, one of them with empty texts for labels": (9820,),
    "a checkpoint without a part": (224,),
    "a checkpoint with a part of another type": (705, 1059, 1878, 10405),
    "a checkpoint whose format is a tensor": (3224,),
    "a table of related images without an anchor or a path": (527, 927),
    "a table of related images with texts that are no UTF-8": (1281,),
    "a table of assignments without a height or a width": (627, 735),
}
"""What showed a fault once, which was mended: cases, which are tried each time."""


def _python(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a module in a process of its own, from which it forks."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": f"{TESTS.parent / 'src'}{os.pathsep}{TESTS}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("first", [0, 1])
def test_no_damaged_file_ends_in_anything_but_one_sentence(first):
    earlier = [case for several in EARLIER.values() for case in several if case >= CASES]
    numbers = [*range(first, CASES, 2), *earlier[first::2]]
    ended = _python("fuzz", "--quiet", "--only", *numbers)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"\n{len(numbers)} cases in" in ended.stdout
    assert " 0 faults; slowest case" in ended.stdout


def test_a_reader_that_does_wrong_is_found():
    ended = _python("fuzz.broken")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    outcomes = json.loads(ended.stdout)
    found = {name: detail for name, (how, detail) in outcomes.items() if how == "fault"}
    words = {
        "raises": "ValueError: not a sentence",
        "prints": "printed b'a library",
        "hangs": "SIGXCPU",
        "crashes": "SIGSEGV",
        "fills": "MiB of memory",
        "writes": "a file was changed by reading it",
        "rambles": "a sentence is 1,000 characters long",
        "escapes": "a sentence holds control characters",
        "the log's reader without its refusal": "JSONDecodeError",
    }
    assert found.keys() == words.keys()
    assert {name: detail for name, detail in found.items() if words[name] not in detail} == {}
    assert outcomes["sleeps"] == ["read", ""]


def test_a_hundred_cases_have_every_kind_by_its_share():
    shares = {name: kind.share for name, kind in KINDS.items()}
    assert Counter(kind_of(number) for number in range(700, 800)) == shares


def test_a_number_names_the_same_files_each_time(tmp_path):
    write_corpus(tmp_path / "corpus")
    for number in range(40):
        written = []
        for time in range(2):
            place = tmp_path / f"{number}-{time}"
            place.mkdir()
            write_case(tmp_path / "corpus", place, number)
            written.append({p.relative_to(place): p.read_bytes() for p in place.rglob("*") if p.is_file()})
        assert written[0] == written[1]
        assert written[0]
