"""The words of docstrings, comments and messages: phrases that read as translated do not come back."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLUGINS = ("report", "beyond", "similarity", "vision", "images", "backbones")
FOLDERS = (
    *(
        f"pairbench/{name}"
        for name in ("cli", "config", "data", "model", "plugin", "results", "store", "testing", "timing", "training")
    ),
    *(f"plugins/pairbench_{name}" for name in PLUGINS),
)
FILES = ("errors", "text", "seeds", "environment")
ODD = re.compile(
    r"\b(mends?|mended|mending|kept models?|dealt|is told|are told|has to be told|tells? a digest|for want of|"
    r"drawn anew|made anew|read anew|beside the best|cannot be had|whoever|chose nothing|"
    r"(?<!there )is no (?:file|path|folder)|something above needs|is dear|takes it along|"
    r"laid over|laid into|knows no classes|rightly|goes its own way|known by in|no other along|asked as)\b",
    re.IGNORECASE,
)


def prose(source: str) -> list[str]:
    """The strings and comments of Python source."""
    kinds = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [" ".join(token.string.split()) for token in tokens if token.type in kinds]


@pytest.mark.parametrize("place", [*FOLDERS, *(f"pairbench/{name}.py" for name in FILES)])
def test_texts_use_no_odd_phrase(place: str) -> None:
    path = ROOT / place
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    assert files
    found = [
        f"{file.relative_to(ROOT)}: {match[0]!r} in {text[:100]!r}"
        for file in files
        for text in prose(file.read_text(encoding="utf-8"))
        if (match := ODD.search(text))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("source", ['"""Names the mend."""', "# Images are dealt to splits.", 'f"{a}. Mend it."'])
def test_an_odd_phrase_is_found_in_docstrings_comments_and_messages(source: str) -> None:
    assert any(ODD.search(text) for text in prose(source))
