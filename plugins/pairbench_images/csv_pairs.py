"""Pairs of image files listed in a CSV file."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pairbench import DELIMITERS, NonNegativeInt, PairList, PairTask, PositiveInt, read_pair_list
from pairbench_images.assembly import TablePairs
from pairbench_images.files import Links
from pairbench_images.listing import Columns, known_table, read
from pairbench_images.naming import TaskKind
from pairbench_images.splitting import TEST_SHARE, VALIDATION_SHARE, Sharing
from pairbench_images.table import Table

Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
OUTCOMES: dict[TaskKind, tuple[str, str]] = {
    "ordering": ("greater", "at_most"),
    "verification": ("different", "same"),
    "preference": ("first", "second"),
}


class CsvPairs(TablePairs):
    """Pairs of your own images, listed in a CSV file with a header and a row for each pair.

    Images are read in place; paths are relative to the CSV file's folder, or to root, and cannot lead outside of it.

    path: the CSV file.
    root: the folder that the paths in it are relative to; none means the CSV file's folder.
    task: verification asks whether two images are the same (label 1) or different (0); ordering whether the first is
        at most the second (1) or greater (0); preference which of two candidates is closer to a reference: first names
        the reference, second and third the candidates, and label is 0 for the first candidate, 1 for the second, or
        the share of votes for the second.
    first: the column of the first image.
    second: the column of the second image.
    third: the column of the third image, for preference.
    label: the column of the correct answer: 0, 1, or its name.
    split: the column that says train, validation or test; none uses a column "split" if there is one.
    group: the column of what must stay in one split, such as a person; none uses a column "group" if there is one.
    first_class: the column of the first image's class; none uses "first_class" if there is one.
    second_class: the column of the second image's class; none uses "second_class" if there is one.
    third_class: the column of the third image's class; none uses "third_class" if there is one.
    num_classes: the number of image classes; none ignores the class columns.
    delimiter: the field separator: comma, semicolon, tab, pipe or space.
    validation_share: the fraction of pairs for validation, by default 0.1; with a split column without validation
        pairs, the fraction of its training pairs to use for validation.
    test_share: the fraction of pairs for testing, by default 0.2; with a split column without test pairs, the
        fraction of its training pairs to use for testing.
    split_seed: the seed of the random assignment of images to splits.
    across_splits: pairs whose images would be in more than one split: refuse raises an error, drop skips them.
    """

    name = "csv"
    locations: ClassVar[tuple[str, ...]] = ("path", "root")
    own_files: ClassVar[bool] = True
    path: Text
    root: Text | None = None
    kind: TaskKind = Field(default="verification", alias="task")
    first: Text = "first"
    second: Text = "second"
    third: Text = "third"
    label: Text = "label"
    split: Text | None = None
    group: Text | None = None
    first_class: Text | None = None
    second_class: Text | None = None
    third_class: Text | None = None
    num_classes: PositiveInt | None = None
    delimiter: Literal["comma", "semicolon", "tab", "pipe", "space"] = "comma"
    validation_share: Share | None = None
    test_share: Share | None = None
    split_seed: NonNegativeInt = 0
    across_splits: Literal["refuse", "drop"] = "refuse"

    @model_validator(mode="after")
    def _fits(self) -> CsvPairs:
        validation = VALIDATION_SHARE if self.validation_share is None else self.validation_share
        test = TEST_SHARE if self.test_share is None else self.test_share
        if validation + test >= 1:
            raise ValueError(
                f"validation_share={validation:g} and test_share={test:g} leave no training pairs. Lower one of them."
            )
        given = [name for name in ("first_class", "second_class", "third_class") if getattr(self, name)]
        if given and self.num_classes is None:
            raise ValueError(f"{given[0]} needs the number of classes. Set num_classes.")
        return self

    @property
    def task(self) -> PairTask:
        """The task, from the options alone."""
        views = 3 if self.kind == "preference" else 2
        return PairTask(self.kind, self.image_shape, OUTCOMES[self.kind], views, self.num_classes)

    @property
    def sharing(self) -> Sharing:
        """How pairs are assigned to splits if the file does not say."""
        return Sharing(self.validation_share, self.test_share, self.split_seed, self.across_splits)

    def pair_list(self, path: Path) -> PairList:
        """The pairs that a CSV file like this one lists, for a trained model to answer."""
        return read_pair_list(
            path,
            self.task.views,
            columns=(self.first, self.second, self.third),
            delimiter=DELIMITERS[self.delimiter],
            root=Path(self.root).expanduser() if self.root else None,
        )

    def table(self) -> Table:
        """The content of the CSV file; cached until it changes."""
        path = Path(self.path).expanduser()
        root = Path(self.root).expanduser() if self.root else path.parent
        columns = Columns(
            images=(self.first, self.second, self.third)[: self.task.views],
            label=self.label,
            split=self.split,
            group=self.group,
            classes=(self.first_class, self.second_class, self.third_class)[: self.task.views],
        )
        delimiter = DELIMITERS[self.delimiter]
        return known_table(_table, root, self.links, path, delimiter, columns, self.task, changed(path))


def changed(path: Path) -> tuple[int, int, int]:
    """Size and times of a file, to detect changes; zeros if it is missing."""
    try:
        info = path.stat()
    except (OSError, ValueError):
        return (0, 0, 0)
    return (info.st_size, info.st_mtime_ns, info.st_ctime_ns)


@functools.lru_cache(maxsize=1)
def _table(
    root: Path,
    links: Links,
    path: Path,
    delimiter: str,
    columns: Columns,
    task: PairTask,
    _changed: tuple[int, int, int],
) -> Table:
    return read(path, delimiter, root, links, columns, task)
