"""Another commit's files beside this checkout, for a while."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary git worktree; it is removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "other"
        made = git("worktree", "add", "--detach", str(place), commit)
        if made.returncode:
            sys.exit(f"error: commit {commit} cannot be checked out ({made.stderr.strip().splitlines()[-1]}).")
        try:
            yield place
        finally:
            git("worktree", "remove", "--force", str(place))


def git(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run git."""
    return subprocess.run(["git", *command], cwd=cwd, capture_output=True, text=True, check=False)


def subject(place: Path) -> str:
    """Hash and first line of a checkout's commit."""
    return git("log", "-1", "--format=%h %s", cwd=place).stdout.strip()
