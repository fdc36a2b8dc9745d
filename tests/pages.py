"""The pages of the documentation, and what is in them: code blocks, prose, links, paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(page for page in ROOT.glob("docs/**/*.md") if "_build" not in page.parts),
        *ROOT.glob("configs/**/README.md"),
    ]
)
# Where names of the last edition are listed: what they name is gone.
OLD_NAMES = {ROOT / "CHANGELOG.md"}
_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```", re.M | re.S)


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line on which it begins."""

    language: str
    text: str
    line: int


def name_of(page: Path) -> str:
    """A page's path from the top folder."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page, in these languages or in all."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(match[1], match[2], text[: match.start()].count("\n") + 1)
        for match in _FENCE.finditer(text)
    ]
    return [block for block in found if not languages or block.language in languages]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def inline_code(page: Path) -> list[str]:
    """What stands between single backticks, line ends as spaces."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]


def commands(page: Path) -> list[str]:
    """The lines of shell blocks, continued lines joined and comments dropped, and inline code."""
    lines = []
    for block in blocks(page, "bash"):
        lines += re.sub(r"\\\n", " ", block.text).splitlines()
    return [line.split("  #")[0] for line in lines] + inline_code(page)


def links(page: Path) -> list[str]:
    """The targets of links and images."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def braces(word: str) -> list[str]:
    """`a{b,c}` → `ab`, `ac`, as a shell expands it."""
    match = re.search(r"\{([^{}]*,[^{}]*)\}", word)
    if match is None:
        return [word]
    head, tail = word[: match.start()], word[match.end() :]
    return [path for part in match[1].split(",") for path in braces(head + part + tail)]
