"""Bundle the JavaScript of ``viewkin explore`` from its sources and the pinned packages of npm.

    python scripts/bundle_explore.py          # write src/viewkin/explorer/page/page.js and licences.txt
    python scripts/bundle_explore.py --check  # say whether they are what the sources give

Needs Node.js and npm. The packages lie in ``build/explore``, at the versions and checksums of ``package-lock.json``;
their install scripts do not run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src" / "viewkin" / "explorer" / "web"
PAGE = ROOT / "src" / "viewkin" / "explorer" / "page"
BUILD = ROOT / "build" / "explore"
BUNDLE, LICENCES = "page.js", "licences.txt"
HEAD = """The page of viewkin explore holds these packages besides its own code, which is under viewkin's licence.

regl-scatterplot has in its own file KDBush 4.0.2, copyright Vladimir Agafonkin 2018, under the ISC licence:

Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted,
provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT,
INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN
ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF
THIS SOFTWARE.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the bundle is not current")
    check = parser.parse_args().check
    install()
    with tempfile.TemporaryDirectory() as folder:
        made = bundled(Path(folder))
    if check:
        stale = [name for name, data in made.items() if (PAGE / name).read_bytes() != data]
        if stale:
            sys.exit(f"{' and '.join(stale)} not as the sources give: run python scripts/bundle_explore.py")
        print("The bundle is what the sources give.")
        return
    for name, data in made.items():
        (PAGE / name).write_bytes(data)
        print(f"Written to {PAGE / name} ({len(data):,} bytes)")


def install() -> None:
    """Put the pinned packages where they are not yet."""
    BUILD.mkdir(parents=True, exist_ok=True)
    current = all(
        (BUILD / name).is_file() and (BUILD / name).read_bytes() == (SOURCES / name).read_bytes()
        for name in ("package.json", "package-lock.json")
    )
    if current and (BUILD / "node_modules").is_dir():
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCES / name, BUILD / name)
    command = [shutil.which("npm") or "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=BUILD, check=True)


def bundled(folder: Path) -> dict[str, bytes]:
    """Bundle into a folder: the files of the page."""
    command = [
        *(shutil.which("node") or "node", str(BUILD / "node_modules" / "esbuild" / "bin" / "esbuild")),
        *(str(SOURCES / "main.js"), "--bundle", "--minify", "--format=esm", "--target=es2022", "--charset=utf8"),
        *("--legal-comments=none", f"--outfile={folder / BUNDLE}", "--log-level=warning"),
    ]
    # Sources and packages lie in different folders, so the names of packages are looked up by this variable.
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "NODE_PATH": str(BUILD / "node_modules")})
    return {BUNDLE: (folder / BUNDLE).read_bytes(), LICENCES: licences().encode()}


def licences() -> str:
    """Write the licence of each package that is not for development: regl-scatterplot has some in its own file."""
    locked = json.loads((SOURCES / "package-lock.json").read_text())["packages"]
    names = sorted(
        path.removeprefix("node_modules/") for path, about in locked.items() if path and not about.get("dev", False)
    )
    parts = [HEAD]
    for name in names:
        place = BUILD / "node_modules" / name
        about = json.loads((place / "package.json").read_text())
        texts = [path for path in sorted(place.iterdir()) if path.name.upper().startswith(("LICENSE", "LICENCE"))]
        text = texts[0].read_text().strip() if texts else f"Licence: {about['license']} (the package has no text of it)"
        parts.append(f"{'-' * 80}\n{name} {about['version']} ({about['license']})\n\n{text}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
