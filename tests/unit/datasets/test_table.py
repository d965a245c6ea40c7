"""CSV lists written by spreadsheets, scripts and Windows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from patchbank.datasets.layouts import manifest, visa
from patchbank.errors import DatasetError
from tests.fixtures.trees import VISA_SPLIT, make, make_visa

IMAGES = ("a/1.png", "a/2.png", "b/3.png", "masks/3.png")
PLAIN = """\
path,label,split,mask
a/1.png,good,train,
a/2.png,good,test,
b/3.png,anomalous,test,masks/3.png
"""


def quoted(text: str) -> str:
    return "\n".join(",".join(f'"{f}"' for f in line.split(",")) for line in text.splitlines())


def rows(text: str) -> str:
    return text.partition("\n")[2]


VARIANTS: dict[str, Callable[[str], str]] = {
    "semicolons": lambda text: text.replace(",", ";"),
    "tabs": lambda text: text.replace(",", "\t"),
    "bars": lambda text: text.replace(",", "|"),
    "separator line": lambda text: "sep=;\n" + text.replace(",", ";"),
    "blank rows": lambda text: "\n" + text.replace("\n", "\n\n  \n,,,\n"),
    "backslashes": lambda text: text.replace("/", "\\"),
    "spaces": lambda text: text.replace(",", " , "),
    "upper-case header": lambda text: text.partition("\n")[0].upper() + "\n" + rows(text),
    "quotes": quoted,
    "quotes and spaces": lambda text: quoted(text).replace(",", ", "),
    "more columns without content": lambda text: text.replace("\n", ",,\n"),
    "no empty fields at the end": lambda text: re.sub(",+\n", "\n", text),
    "line ends of Windows": lambda text: text.replace("\n", "\r\n"),
    "line ends of old": lambda text: text.replace("\n", "\r"),
    "all of it": lambda text: (
        "\r\n"
        + text.partition("\n")[0].upper().replace(",", " ; ")
        + "\r\n\r\n"
        + quoted(rows(text).replace("/", "\\")).replace(",", ";")
    ),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_manifest_is_read_however_it_was_written(
    tmp_path: Path, variant: str, encoding: str
) -> None:
    make(tmp_path, *IMAGES)
    file = tmp_path / "parts.csv"
    file.write_text(PLAIN)
    expected = manifest.load(file, "parts")
    file.write_bytes(VARIANTS[variant](PLAIN).encode(encoding))
    assert manifest.load(file, "parts") == expected


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_split_of_visa_is_read_in_the_same_way(tmp_path: Path, variant: str) -> None:
    root = make_visa(tmp_path)
    expected = visa.load(root, "candle")
    split = VARIANTS[variant](VISA_SPLIT)
    (root / visa.SPLIT_FILE).write_bytes(split.encode())
    assert visa.load(root, "candle") == expected


def test_labels_and_splits_may_be_in_capitals(tmp_path: Path) -> None:
    make(tmp_path, *IMAGES)
    file = tmp_path / "parts.csv"
    file.write_text("Path,Label,Split\na/1.png,Good,TRAIN\nb/3.png,ANOMALOUS,Test\n")
    samples = manifest.load(file, "parts")
    assert [sample.label for sample in (*samples.train, *samples.test)] == ["good", "anomalous"]


def test_backslashes_in_json_lines_are_those_of_windows(tmp_path: Path) -> None:
    make(tmp_path, *IMAGES)
    file = tmp_path / "parts.jsonl"
    file.write_text(
        r'{"path": "a\\1.png", "label": "good", "split": "train"}' + "\n"
        r'{"path": "b\\3.png", "label": "anomalous", "split": "test", "mask": ["masks\\3.png"]}'
    )
    samples = manifest.load(file, "parts")
    assert samples.train[0].path == tmp_path / "a/1.png"
    assert samples.test[0].mask is not None
    assert samples.test[0].mask.paths == (tmp_path / "masks/3.png",)


def test_a_file_whose_name_contains_a_backslash_keeps_it(tmp_path: Path) -> None:
    make(tmp_path, "a\\1.png", "b/3.png")
    file = tmp_path / "parts.csv"
    file.write_text("path,label,split\na\\1.png,good,train\nb/3.png,anomalous,test\n")
    assert manifest.load(file, "parts").train[0].path == tmp_path / "a\\1.png"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\nä/1.png,good\n".encode("cp1252"), "save it as CSV in UTF-8"),
        (b"path;label\na/1.png\n", "line 2: label is ''"),
        (b"# made by x\npath,label\na/1.png,good\n", "line 1: expected the header, .* remove the"),
        ("path,label\na/1.png,good\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("path,label\na/ä.png,good\n".encode("utf-16-be"), "UTF-16 without a byte order mark"),
        (
            b"path;label\n\n\na/1.png;good;x\n",
            "line 4: expected 2 fields .*, found 3",
        ),
        (b'path,label\n"a/1.png,good\n', "not a CSV file"),
        (b"PATH , path\n", "column path more than once"),
        (b"path:label\na/1.png:good\n", "expected the header, .* found path:label"),
        (b"\n \n", "no column path, label"),
    ],
)
def test_a_list_that_cannot_be_read_is_explained(
    tmp_path: Path, content: bytes, message: str
) -> None:
    make(tmp_path, *IMAGES)
    file = tmp_path / "parts.csv"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=message) as error:
        manifest.list_categories(file)
    assert "\n" not in str(error.value)
