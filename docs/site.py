"""What the site has beyond docs/: README, columns, changelog; links out of docs/ become text.

mkdocs calls these functions by their names (`hooks` in .mkdocs.yml).
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = {
    "index.md": "README.md",
    "results.md": "results/README.md",
    "changelog.md": "CHANGELOG.md",
}
LINK: Final = re.compile(r"(?<!!)\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\(([^)#:]+)(#[^)]*)?\)")
PICTURE: Final = re.compile(r"!\[([^\]]*)\]\(docs/")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie elsewhere in the repository."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=PICTURE.sub(r"![\1](", text)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Any, **_: Any) -> str:
    """Have links lead to pages of the site; of those to other files in the repository, keep words.

    What leads nowhere is left as it is: mkdocs warns of it.
    """
    here = page.file.src_uri
    source = PAGES.get(here, f"docs/{here}")  # in the repository
    names = {file: page for page, file in PAGES.items()}

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        name = names.get(file, file.removeprefix("docs/"))
        if files.get_file_from_path(name) is not None:
            to = posixpath.relpath(name, posixpath.dirname(here) or ".")
            return f"[{words}]({to}{anchor})"
        return words if (ROOT / file).exists() else found[0]

    return LINK.sub(link, markdown)
