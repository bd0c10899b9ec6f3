"""What the documentation site does with pages that are also read in the repository.

Links to files outside of docs/ lead nowhere on the site, so their words stay without the link.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s:]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Take away links that leave the documentation."""
    docs = Path(config["docs_dir"]).resolve()
    here = docs / Path(page.file.src_path).parent

    def kept(link: re.Match[str]) -> str:
        target = (here / link[2]).resolve()
        outside = not target.is_relative_to(docs) or target.is_dir()
        return link[1] if outside else link[0]

    return LINK.sub(kept, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Show the names that docstrings refer to, without Sphinx's roles."""
    return re.sub(r":(?:class|func|meth|attr|data|mod|exc):<code>~?([^<]*)</code>", r"<code>\1</code>", html)
