"""Build a release, and try it where nothing of the checkout is in reach: dist/, results/release.json, docs/licences.md.

    python scripts/release.py [--python python3.11 python3.12 python3.13] [--out dist]

Wheel and sdist are built from the last commit. The wheel is built twice and has to be equal byte for byte. For each
interpreter that is found, the wheel is installed into an environment of its own (some 5 GB, removed afterwards), and
trains, embeds, searches and evaluates on a few generated images. What cannot be installed is said.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
IMAGES = "generated:images=64"
SMOKE = (
    ("--version",),
    ("recipes",),
    ("train", IMAGES, "--recipe", "demo", "--smoke", "--out", "run"),
    ("embed", "run", IMAGES, "--to", "x.collection"),
    ("search", "x.collection", "train#0", "-k", "3"),
    ("evaluate", "knn", "run", IMAGES),
    ("quality", "x.collection"),
)
"""Commands that are tried, one after the other, in an empty folder."""
IN_WHEEL = ("viewkin/py.typed", "viewkin/campaigns/published.csv", "viewkin/explorer/page/index.html")
"""Files that are no Python and that the package needs."""
LICENCES = """
import json, re
from importlib.metadata import PackageNotFoundError, distribution
def licence(one):
    facts = one.metadata
    text = facts.get("License-Expression") or next(
        (c.rsplit("::", 1)[1].strip() for c in facts.get_all("Classifier") or () if c.startswith("License ::")), None
    ) or (facts.get("License") or "").strip().splitlines()[0:1]
    return text if isinstance(text, str) else (text[0] if text else "not stated")
found, waiting = {}, ["viewkin"]
while waiting:
    name = waiting.pop()
    try:
        one = distribution(name)
    except PackageNotFoundError:
        continue
    key = re.sub("[-_.]+", "-", one.metadata["Name"]).lower()
    if key in found:
        continue
    found[key] = [one.version, licence(one)]
    waiting += [re.match("[A-Za-z0-9._-]+", r)[0] for r in one.requires or () if "extra ==" not in r]
del found["viewkin"]
print(json.dumps(found))
"""


def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Run a command; its output. An error shows what it wrote."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def check_versions(source: Path) -> str:
    """Give the version, which has to be the same in all files that name it."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]["version"]
    named = {
        "src/viewkin/runtime/version.py": r'VERSION = "([^"]+)"',
        "CITATION.cff": r"(?m)^version: (.+)$",
        "CHANGELOG.md": r"(?m)^## ([0-9.]+)",
    }
    for file, pattern in named.items():
        found = re.search(pattern, (source / file).read_text())
        if found is None or found[1] != project:
            raise SystemExit(f"{file} names version {found[1] if found else 'none'}, pyproject.toml {project}.")
    return project


def built(source: Path, out: Path, tools: Path, what: str) -> Path:
    """Build a wheel or an sdist, with the time of the commit in it."""
    stamp = run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()
    run(tools, "-m", "build", f"--{what}", "--outdir", out, source, SOURCE_DATE_EPOCH=stamp)
    return next(out.glob("*.whl" if what == "wheel" else "*.tar.gz"))


def digest(path: Path) -> str:
    """Hash a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(wheel: Path) -> dict[str, bytes]:
    """Read the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def make(work: Path, out: Path) -> dict[str, Any]:
    """Build wheel and sdist of the last commit, and check them."""
    source = work / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
    version = check_versions(source)
    run(sys.executable, "-m", "venv", work / "tools")
    tools = work / "tools" / "bin" / "python"
    run(tools, "-m", "pip", "install", "-q", "build")
    wheels = [built(source, work / f"wheel{turn}", tools, "wheel") for turn in (1, 2)]
    if digest(wheels[0]) != digest(wheels[1]):
        raise SystemExit("Two builds of the wheel differ.")
    files = contents(wheels[0])
    missing = [name for name in IN_WHEEL if name not in files]
    strange = [name for name in files if not name.startswith(("viewkin/", f"viewkin-{version}.dist-info/"))]
    if missing or strange:
        raise SystemExit(f"The wheel lacks {missing}, and has {strange}.")
    sdist = built(source, work / "sdist", tools, "sdist")
    unpacked = work / "unpacked"
    unpacked.mkdir()
    run("tar", "-xzf", sdist, "-C", unpacked)
    again = built(next(unpacked.iterdir()), work / "again", tools, "wheel")
    differing = [name for name, data in contents(again).items() if files.get(name) != data]
    if {name for name in differing if not name.endswith("RECORD")}:
        raise SystemExit(f"The wheel of the sdist differs in {differing}.")
    out.mkdir(parents=True, exist_ok=True)
    kept = [Path(shutil.copy(one, out)) for one in (wheels[0], sdist)]
    return {
        "version": version,
        "commit": run("git", "rev-parse", "--short", "HEAD", cwd=ROOT).strip(),
        "files": {one.name: {"bytes": one.stat().st_size, "sha256": digest(one)} for one in kept},
    }


def tried(python: str, wheel: Path, work: Path) -> dict[str, Any]:
    """Install the wheel for one interpreter and run a few commands with it."""
    place, began = work / "trial", time.monotonic()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    run(python, "-m", "venv", place / "venv")
    inside = place / "venv" / "bin"
    command = [inside / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel]
    installed = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if installed.returncode:
        why = [line for line in installed.stderr.splitlines() if line.startswith("ERROR")]
        return {"python": python, "installed": False, "why": (why or ["unknown"])[-1].removeprefix("ERROR: ")}
    seconds = round(time.monotonic() - began)
    run(inside / "python", "-m", "pip", "check")
    empty = place / "empty"
    empty.mkdir()
    for words in SMOKE:
        run(inside / "viewkin", *words, cwd=empty, VIEWKIN_CACHE=str(place / "cache"))
    run(inside / "python", "-c", "import viewkin; print(viewkin.open_run('run').embed('" + IMAGES + "'))", cwd=empty)
    found = json.loads(run(inside / "python", "-c", LICENCES, cwd=empty))
    exact = run(inside / "python", "--version").split()[1]
    shutil.rmtree(place)
    return {"python": exact, "installed": True, "install_seconds": seconds, "commands": len(SMOKE), "licences": found}


def write_licences(found: dict[str, list[str]], page: Path) -> None:
    """Write the page of licences."""
    rows = [f"| {name} | {version} | {licence} |" for name, (version, licence) in sorted(found.items())]
    page.write_text(
        "# Licences of what is installed with viewkin\n\n"
        "viewkin itself is under the MIT licence. `pip install viewkin` on Linux brings these packages, as their own\n"
        "metadata says; extras bring more. `python scripts/release.py` writes this page.\n\n"
        "| package | version | licence |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"
    )


def main() -> None:
    """Build, check, try, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", nargs="+", default=["python3.11", "python3.12", "python3.13"])
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        report = make(work, options.out)
        print(json.dumps(report["files"], indent=1), flush=True)
        wheel = next(options.out.glob(f"viewkin-{report['version']}-*.whl"))
        trials: list[dict[str, Any]] = []
        for python in options.python:
            if shutil.which(python) is None:
                trials.append({"python": python, "installed": False, "why": "there is no such interpreter"})
            else:
                trials.append(tried(python, wheel, work))
            print({name: value for name, value in trials[-1].items() if name != "licences"}, flush=True)
        licences = [one.pop("licences") for one in trials if "licences" in one]
        if licences:
            write_licences(licences[0], ROOT / "docs" / "licences.md")
        (ROOT / "results" / "release.json").write_text(json.dumps({**report, "trials": trials}, indent=1) + "\n")


if __name__ == "__main__":
    main()
