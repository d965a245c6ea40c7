"""The HTML page of an evaluation of one category or more: figures, charts and cases."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchbank.environment import install_command
from patchbank.errors import MissingExtraError
from patchbank.files import LARGEST_TEXT, read_regular
from patchbank.printable import printable
from patchbank.reports.colours import ColourScale
from patchbank.reports.writing import (
    check_own_folder,
    check_report_packages,
    make_writable,
    replace_text,
    writing_report,
)

if TYPE_CHECKING:
    from jinja2 import Template

PAGE_NAME = "index.html"
# Each new page gets a new folder, so that the old page keeps its pictures until it is replaced.
_PICTURES = re.compile(r"pictures-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class FigureRow:
    """A figure of one category: value, interval (may be empty) and meaning, as text."""

    name: str
    value: str
    interval: str
    meaning: str


@dataclass(frozen=True, slots=True)
class KindRow:
    """A kind of defect: how many of its images failed, and its figures, as text."""

    name: str
    failed: str
    recall: str
    interval: str
    auroc: str


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A category on the page.

    Attributes
    ----------
    name, anchor
        Heading, and target of links.
    folder
        Folder of its pictures, relative to the page.
    facts
        Names and values of the conditions of the figures.
    figures
        Its figures.
    kinds
        The figures of each kind of defect, if there are several.
    remarks
        One line each.
    map_threshold
        The middle of the maps' colour scale.
    charts, galleries, evidence
        As returned by `charts_to_json`, `write_galleries` and `write_evidence`.
    seed, seeds
        If there are several seeds: the one of the figures, charts and cases, and a row for each.
    """

    name: str
    anchor: str
    folder: str
    facts: Sequence[tuple[str, str]]
    figures: Sequence[FigureRow]
    kinds: Sequence[KindRow]
    remarks: Sequence[str]
    map_threshold: float
    charts: Sequence[Mapping[str, Any]]
    galleries: Sequence[Mapping[str, Any]]
    evidence: Mapping[str, Any] | None = None
    seed: int | None = None
    seeds: Sequence[TableRow] = ()

    @property
    def colour_scale(self) -> ColourScale:
        """The colours of the maps."""
        return ColourScale.around(self.map_threshold)


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of the table, its figures as text.

    `anchor` is the section that the name links to; `own` is False for published figures.
    """

    name: str
    values: Sequence[str]
    anchor: str | None = None
    note: str = ""
    own: bool = True


@dataclass(frozen=True, slots=True)
class Source:
    """The source of published figures."""

    title: str
    source: str
    url: str
    settings: str
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationPage:
    """The contents of the page.

    Attributes
    ----------
    title, lead
        Heading, and a sentence or two on what was evaluated.
    sections
        One for each evaluated category.
    facts
        Names and values needed to repeat this: data set, split, settings, times.
    synthetic
        A note on synthetic images; empty for photographs.
    columns, rows
        Title and meaning of each column of the table over all categories, and its rows.
    sources
        The sources of the published figures in the table.
    failures
        Each category that could not be evaluated, and the reason.
    credits
        Licence and citation of the images.
    measured
        The network and the settings that the table's own rows are of, in a line.
    texts
        Files with the same tables, beside the page.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    facts: Sequence[tuple[str, str]]
    synthetic: str = ""
    columns: Sequence[tuple[str, str]] = ()
    rows: Sequence[TableRow] = ()
    sources: Sequence[Source] = ()
    failures: Sequence[tuple[str, str]] = ()
    credits: Sequence[str] = ()
    measured: str = ""
    texts: Sequence[str] = ()


def check_page_folder(
    folder: Path, *folders: str, files: Sequence[str] = (), extra: str = "report"
) -> None:
    """Raise where a page cannot be written to a folder, before any work; make the folders.

    Parameters
    ----------
    folders, files
        Names of folders and files beside the page that are of such a report, too.

    Raises
    ------
    MissingExtraError, ReportError, DiskFullError
        If the extra is not installed, or the folder has other files or takes none.
    """
    check_report_packages(extra)
    check_own_folder(folder, PAGE_NAME, "pictures-*", *folders, *files)
    make_writable(folder, *(folder / name for name in folders), page=folder / PAGE_NAME)


def write_page(folder: Path, page: object, template_name: str = "page.html.j2") -> Path:
    """Write ``index.html`` beside the folders of its pictures and return its path.

    Raises
    ------
    MissingExtraError
        If the extra `report` is not installed.
    DiskFullError, ReportError
        If it cannot be written; an existing page is kept.
    """
    index = folder / PAGE_NAME
    text = template(template_name).render(page=page)
    with writing_report(folder):
        replace_text(index, text)
    return index


@contextlib.contextmanager
def new_pictures(folder: Path) -> Iterator[Path]:
    """Yield a new folder for the pictures of a page that is written inside the block.

    An existing page keeps its pictures until the block ends, and for good if writing fails.

    Raises
    ------
    DiskFullError, ReportError
        If pictures cannot be written.
    """
    pictures = folder / f"pictures-{secrets.token_hex(6)}"
    try:
        with writing_report(folder):
            pictures.mkdir(parents=True)
            replaced = _pictures_of(folder / PAGE_NAME)
            yield pictures
    except BaseException:  # an interrupt too
        shutil.rmtree(pictures, ignore_errors=True)
        raise
    for old in replaced:
        shutil.rmtree(folder / old, ignore_errors=True)


def _pictures_of(index: Path) -> set[str]:
    """Return the picture folders that an existing page refers to."""
    if not index.is_file():
        return set()
    text = read_regular(index, LARGEST_TEXT).decode("utf-8", "replace")
    return set(_PICTURES.findall(text))


def template(name: str) -> Template:
    """Return a page's template.

    Raises
    ------
    MissingExtraError
        If the extra `report` is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise MissingExtraError(
            f"the report needs jinja2; run: {install_command('patchbank[report]')}"
        ) from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("patchbank.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Markup is a subclass of str and must stay as it is.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    return environment.get_template(name)
