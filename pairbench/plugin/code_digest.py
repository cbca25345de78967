"""A digest of Python code that a comment does not change."""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import tokenize
from pathlib import Path


@functools.cache
def digest_of_code(file: Path) -> str:
    """SHA-256, 16 digits, over a Python file and every file that it imports, directly or not, from its own package.

    Comments and blank lines do not count; imports inside functions do.
    """
    top = _top(file)
    digest = hashlib.sha256()
    for path in sorted(_closure(file, top)):
        code = without_comments(path.read_bytes())
        digest.update(f"{path.relative_to(top.parent).as_posix()}\0{len(code)}\0".encode())
        digest.update(code)
    return digest.hexdigest()[:16]


def without_comments(source: bytes) -> bytes:
    """Python source without comments and blank lines; as it is where it cannot be parsed."""
    try:
        lines = source.decode().splitlines()
        for token in tokenize.generate_tokens(io.StringIO(source.decode()).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
    except (UnicodeDecodeError, SyntaxError, IndexError, tokenize.TokenError):
        return source
    return "\n".join(line.rstrip() for line in lines if line.strip()).encode()


def _top(file: Path) -> Path:
    """The folder of the outermost package that `file` is in, or the file itself where it is in none."""
    top = file
    while (top.parent / "__init__.py").is_file():
        top = top.parent
    return top


def _closure(file: Path, top: Path) -> set[Path]:
    found, waiting = set[Path](), [file]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix == ".py":
            waiting += _imported(path, top)
    return found


def _imported(path: Path, top: Path) -> list[Path]:
    """The files of the package `top` that `path` imports."""
    names = set[str]()
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return []
    package = list(path.relative_to(top.parent).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            home = ".".join([*base, *([node.module] if node.module else [])])
            names |= {home} | {f"{home}.{alias.name}" for alias in node.names}
    places = [top.parent.joinpath(*name.split(".")) for name in names if name.split(".")[0] == top.name]
    candidates = [item for place in places for item in (place.with_suffix(".py"), place / "__init__.py")]
    return [item for item in candidates if item.is_file()]
