"""The layout of class folders: classes, files and, if the folders say so, splits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from pairbench import DataError, printable
from pairbench_images.decoding import SUFFIXES
from pairbench_images.files import Links, OutsideError, Root
from pairbench_images.naming import named, natural
from pairbench_images.table import SPLIT_NAMES, Table


def class_names(path: str) -> list[str]:
    """The names of the class folders in natural order; reads no file.

    Raises:
        DataError: there is no such folder, or it has fewer than two classes.
    """
    top = _folders(Path(path).expanduser())
    splits = _splits(top)
    names = {name for split in splits for name in _folders(top[split])} if splits else set(top)
    if len(names) < 2:
        where = printable(path, 200)
        raise DataError(
            f"{where} has {len(names)} class folders: expected one for each class, at least two. Fix dataset.path."
        )
    return sorted(names, key=natural)


def listing(path: str, classes: list[str], links: Links = "inside") -> Table:
    """All images in the class folders, as a table with one file per row.

    Raises:
        DataError: a path leads outside the folder, or there is no image.
    """
    import numpy as np

    folder = Path(path).expanduser()
    top = _folders(folder)
    splits = _splits(top)
    root = Root(folder, links)
    number = {name: place for place, name in enumerate(classes)}
    names, paths, labels, parts, ignored = list[str](), list[str](), list[int](), list[int](), 0
    for split in sorted(splits, key=lambda name: SPLIT_NAMES[name.lower()]) or [""]:
        inner = _folders(top[split]) if split else top
        for name in sorted(inner, key=natural):
            for file in _files(inner[name]):
                if Path(file).suffix.lower() not in SUFFIXES:
                    ignored += 1
                    continue
                relative = os.path.relpath(file, folder)
                try:
                    paths.append(root.inside(relative))
                except OutsideError as error:
                    fix = error.fix or "Copy it into the folder."
                    raise DataError(f"{printable(relative, 120)} {error}. {fix}") from None
                names.append(relative)
                labels.append(number[name])
                parts.append(SPLIT_NAMES[split.lower()] if split else 0)
    source = printable(folder.name or path, 60)
    if not names:
        raise DataError(f"{source}: no image in the class folders. Expected files such as .png and .jpg.")
    content = hashlib.sha256("\0".join([*classes, "", *names]).encode("utf-8", "surrogateescape"))
    notes = []
    if ignored:
        notes.append(f"{source}: files without an image suffix are ignored ({ignored})")
    if loose := _loose(folder, [top[split] for split in splits]):
        notes.append(
            f"{source}: {loose} {'images lie' if loose > 1 else 'image lies'} beside the class folders, belong to no "
            "class, and are not used"
        )
    return Table(
        source=source,
        names=names,
        paths=paths,
        pairs=np.arange(len(names)).reshape(-1, 1),
        target=np.zeros(len(names), dtype=np.int64),
        rows=np.arange(len(names)),
        classes=np.array(labels),
        split=np.array(parts) if splits else None,
        group=None,
        content=content.hexdigest(),
        notes=tuple(notes),
        counted="",
    )


def _loose(folder: Path, splits: list[Path]) -> int:
    """How many images lie where class folders are expected: in the folder itself, or in those of its splits."""
    return sum(
        entry.is_file() and not entry.name.startswith(".") and Path(entry.name).suffix.lower() in SUFFIXES
        for place in (folder, *splits)
        for entry in os.scandir(place)
    )


def _folders(folder: Path) -> dict[str, Path]:
    """The visible folders in a folder, by name."""
    try:
        return {entry.name: Path(entry.path) for entry in os.scandir(folder) if _counts(entry)}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path"
        raise DataError(f"{named(str(folder))} cannot be listed ({reason}). Fix dataset.path.") from None


def _counts(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not entry.name.startswith((".", "__"))


def _splits(top: dict[str, Path]) -> list[str]:
    """The split folders, if all folders have names of splits and one is train; otherwise none."""
    found = [SPLIT_NAMES.get(name.lower()) for name in top]
    return list(top) if 0 in found and None not in found and len(set(found)) == len(found) > 1 else []


def _files(folder: Path) -> Iterator[str]:
    """The visible files in a folder tree, sorted; links to folders are not followed."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        for name in sorted(files, key=natural):
            if not name.startswith("."):
                yield f"{place}/{name}"
