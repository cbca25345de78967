"""The records of a CSV file, parsed strictly: errors name their row."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pairbench import DataError, printable
from pairbench_images.files import UnusableError, opened
from pairbench_images.naming import named, nearest

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}
MAX_LINE = 2**20


@dataclass
class Records:
    """A CSV file with a header, whose records can be read once.

    header: the names of the columns.
    content: a digest of the file, once all records are read.
    """

    path: Path
    delimiter: str
    header: list[str] = field(default_factory=list)
    content: str = ""
    row: int = 0

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return printable(self.path.name, 60)

    def wrong(self, what: str, fix: str = "Fix that row.") -> DataError:
        """The error for the current row."""
        return DataError(f"{self.name}, row {self.row}: {what} {fix}")

    def column(self, name: str, option: str, *, needed: bool = True) -> int | None:
        """The place of a column.

        Raises:
            DataError: it is required and missing.
        """
        if name in self.header:
            return self.header.index(name)
        if not needed:
            return None
        hint = nearest(name, [column for column in self.header if column])
        if len(self.header) == 1:
            other = [word for word, sign in DELIMITERS.items() if sign in self.header[0] and sign != self.delimiter]
            hint = f" Is it dataset.delimiter={other[0]}?" if other else hint
        raise DataError(f"{self.name} has no column {named(name)} (dataset.{option}).{hint}")

    def __iter__(self) -> Iterator[list[str]]:
        """Each record after the header; `row` is its number.

        Raises:
            DataError: the file is missing, not UTF-8, or not CSV with a fixed number of fields.
        """
        try:
            stream = opened(str(self.path))
        except UnusableError as error:
            raise DataError(
                f"{printable(str(self.path), 200)} {error}: expected a CSV file. Fix dataset.path."
            ) from None
        digest = hashlib.sha256()
        with stream:
            reader = csv.reader(self._lines(stream, digest), delimiter=self.delimiter, strict=True)
            try:
                for fields in reader:
                    self.row += 1
                    if self._checked(fields):
                        yield fields
            except csv.Error as error:
                self.row += 1
                raise self.wrong(f"cannot be read as CSV ({printable(str(error), 80)}).") from None
        if not self.header:
            raise DataError(f"{self.name} is empty: expected a header and a row for each pair. Fix dataset.path.")
        self.content = digest.hexdigest()

    def _checked(self, fields: list[str]) -> bool:
        """Whether these are the fields of a record; the first are the header's."""
        if any("\0" in text for text in fields):
            raise self.wrong("a NUL byte, which is not allowed in text.", "Save the file as plain UTF-8.")
        if self.header:
            if fields and len(fields) != len(self.header):
                raise self.wrong(f"{len(fields)} fields: expected {len(self.header)}, as in the header.")
            return bool(fields)
        self.header = [name.strip() for name in fields]
        for name in self.header:
            if name and self.header.count(name) > 1:
                raise DataError(f"{self.name} has two columns {named(name)}. Rename one of them.")
        return False

    def _lines(self, stream: BinaryIO, digest: Any) -> Iterator[str]:
        number = 0
        while line := stream.readline(MAX_LINE):
            number += 1
            digest.update(line)
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                self.row += 1
                raise self.wrong(f"more than {MAX_LINE} bytes in a line.")
            if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise DataError(f"{self.name} is UTF-16: expected UTF-8. Save it as UTF-8.")
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                self.row += 1
                raise self.wrong(
                    f"byte 0x{line[error.start]:02x} is not UTF-8 (line {number}).", "Save the file as UTF-8."
                ) from None
