"""The records of a CSV file, parsed strictly: errors name their row."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pairbench.errors import DataError
from pairbench.plugin.regular_files import UnusableError, open_regular
from pairbench.text import did_you_mean, printable, quoted

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}
MAX_LINE = 2**20


@dataclass
class CsvRecords:
    """A CSV file with a header, whose records can be read once.

    path: the file.
    delimiter: the field separator.
    option: the option that names the file, for messages.
    header: the names of the columns.
    content: a digest of the file, once all records are read.
    row: the line on which the last record read begins; 1 is the header.
    """

    path: Path
    delimiter: str
    option: str = "dataset.path"
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
        hint = did_you_mean(name, [column for column in self.header if column])
        if len(self.header) == 1:
            other = [word for word, sign in DELIMITERS.items() if sign in self.header[0] and sign != self.delimiter]
            hint = f" Is it dataset.delimiter={other[0]}?" if other else hint
        raise DataError(f"{self.name} has no column {quoted(name)} (dataset.{option}).{hint}")

    def __iter__(self) -> Iterator[list[str]]:
        """Each record after the header; `row` is its number.

        Raises:
            DataError: the file is missing, not UTF-8, or not CSV with a fixed number of fields.
        """
        try:
            stream = open_regular(str(self.path))
        except UnusableError as error:
            raise DataError(
                f"{printable(str(self.path), 200)} {error}: expected a CSV file. Check {self.option}."
            ) from None
        digest = hashlib.sha256()
        with stream:
            # A space after a comma is not part of a name.
            spaced = self.delimiter != " "
            lines = self._lines(stream, digest)
            reader = csv.reader(lines, delimiter=self.delimiter, strict=True, skipinitialspace=spaced)
            while True:
                self.row = reader.line_num + 1
                try:
                    fields = next(reader)
                except StopIteration:
                    break
                except csv.Error as error:
                    raise self.wrong(f"cannot be read as CSV ({printable(str(error), 80)}).") from None
                if self._checked(fields):
                    yield fields
        if not self.header:
            raise DataError(f"{self.name} is empty: expected a header and a row for each pair. Check {self.option}.")
        self.content = digest.hexdigest()

    def _checked(self, fields: list[str]) -> bool:
        """Whether these are the fields of a record; the first are the header's."""
        if any("\0" in text for text in fields):
            raise self.wrong("a NUL byte, which is not allowed in text.", "Save the file as plain UTF-8.")
        if self.header:
            if fields and len(fields) != len(self.header):
                what = f"{len(fields)} fields: expected {len(self.header)}, as in the header."
                quote = f'Quote paths that contain "{self.delimiter}": "a{self.delimiter} b.png".'
                more = len(fields) > len(self.header) and self.delimiter.strip()
                raise self.wrong(what, quote if more else "Fix that row.")
            return bool(fields)
        self.header = [name.strip() for name in fields]
        for name in self.header:
            if name and self.header.count(name) > 1:
                raise DataError(f"{self.name} has two columns {quoted(name)}. Rename one of them.")
        return False

    def _lines(self, stream: BinaryIO, digest: Any) -> Iterator[str]:
        number = 0
        while line := stream.readline(MAX_LINE):
            number += 1
            digest.update(line)
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                self.row = number
                raise self.wrong(f"more than {MAX_LINE} bytes in a line.")
            if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise DataError(f"{self.name} is UTF-16: expected UTF-8. Save it as UTF-8.")
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                self.row = number
                raise self.wrong(
                    f"byte 0x{line[error.start]:02x} is not UTF-8 (line {number}).", "Save the file as UTF-8."
                ) from None
