"""Plain English: phrases that the project once used and that a common word replaces."""

from __future__ import annotations

import re

import pytest

from .pages import PAGES, ROOT, name_of

# Phrase: what to write instead.
PHRASES = {
    r"taps?\b|tapp(ed|ing)\b": "recorder, layers, reader",
    r"keeper": "recorder",
    r"puts? out\b|putting out": "returns",
    r"answer(s|ed)? (with|in)\b": "returns",
    r"tak(es?|ing) in (?!turn|train|test|val|docs|\w+/)": "receives",
    r"com(es?|ing) to be\b": "is created",
    r"comes to (\d|nothing)": "reaches",
    r"stands? under\b": "is below",
    r"(of no use|of any use|no good)\b": "has no effect; remove it",
    r"hangs? on\b": "depends on, varies between",
    r"at hand\b": "available",
    r"shows? no attention": "AAL does not know how to read",
    r"(is|are|was|were|be|being) refused|refus(es?|ing)": "rejects, is rejected",
    r"(is|are|was|were|be|being) told\b|is not told": "is reported, is given",
    r"(is|are|was|were) watched": "is recorded",
    r"(is|are|was|were|be) (seen|looked at)\b": "is detected, is checked",
    r"as (it|they) stands?\b": "unchanged",
    r"(to be had|for the asking)\b": "can reach",
    r"straight up": "linear in",
    r"(is|are|was|were) (asked for|wanted)\b": "is needed",
    r"\bwants?\b": "needs",
    r"pass(es|ed)? over\b": "skips",
    r"held against\b": "compared with",
    r"in the place of\b": "in place of",
    r"fed wrongly": "wrong preprocessing",
    r"ours to (solve|mend)": "we fix",
    r"\bnot of (us|ours)\b": "someone else's",
    r"leaves? with (status|exit)": "exits with",
    r"lie(s)? (about|around)\b": "is left",
    r"goes? without\b": "has no",
    r"such as (it|they) (is|are)\b": "unchanged",
}
FILES = [
    *PAGES,
    *ROOT.glob("docs/*.py"),
    *ROOT.glob("configs/**/*.py"),
    *ROOT.glob("configs/**/*.yml"),
    *ROOT.glob("tools/**/*.py"),
    *ROOT.glob("tools/**/*.sh"),
    *ROOT.glob("aal_plugin/**/*.py"),
]


def old_phrases(text: str) -> list[str]:
    """`line: phrase; better` for each old phrase, also across the end of a line."""
    joined = re.sub(r"\s*\n\s*(?:#\s*)?", lambda match: " " * len(match[0]), text)
    found = []
    for phrase, better in PHRASES.items():
        spaced = phrase.replace(" ", r"\s+")
        for match in re.finditer(rf"\b(?:{spaced})", joined, re.I):
            line = text[: match.start()].count("\n") + 1
            found.append(f"{line}: {' '.join(match[0].split())!r}; write: {better}")
    return found


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_words_are_plain(file):
    assert not old_phrases(file.read_text(encoding="utf-8"))


def test_old_phrases_are_found_across_lines_and_in_capitals():
    assert old_phrases("Puts out\n# a map") == ["1: 'Puts out'; write: returns"]
    assert old_phrases("a\n    # older scripts are\n    # refused")[0].startswith(
        "2: 'are refused'"
    )
    assert not old_phrases("The output returns to its place; mistakes in training are reported.")
