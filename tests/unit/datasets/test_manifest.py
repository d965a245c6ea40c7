"""Manifests: CSV, JSON lines and those of Amazon Lookout for Vision."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchbank.datasets.catalogue import DATASETS
from patchbank.datasets.masks import read_mask
from patchbank.datasets.samples import CategorySamples, Mask
from patchbank.errors import DatasetError
from tests.fixtures.trees import SIDE, make

MANIFEST = DATASETS["manifest"]
IMAGES = ("a/1.png", "a/2.png", "b/3.png", "masks/3.png", "masks/4.png")
HEADER = "path,label,kind,split,mask,category\n"
ROWS = """\
a/1.png,good,,train,,nut
a/2.png,good,,test,,nut
b/3.png,anomalous,crack,test,masks/3.png,nut
"""


def written(root: Path, text: str, name: str = "parts.csv") -> Path:
    make(root, *IMAGES)
    file = root / name
    file.write_text(text, encoding="utf-8")
    return file


def loaded(root: Path) -> CategorySamples:
    (category,) = MANIFEST.list_categories(root)
    return MANIFEST.load(root, category)


def test_a_csv_manifest_loads(tmp_path: Path) -> None:
    samples = loaded(written(tmp_path, HEADER + ROWS))
    assert samples.category == "nut"
    assert [sample.path for sample in samples.train] == [tmp_path / "a/1.png"]
    good, bad = samples.test
    assert (good.name, good.label, good.mask) == ("a/2.png", "good", None)
    assert (bad.name, bad.kind, bad.mask) == (
        "b/3.png",
        "crack",
        Mask((tmp_path / "masks/3.png",)),
    )


def test_json_lines_load_in_the_same_way(tmp_path: Path) -> None:
    keys = HEADER.strip().split(",")
    rows = [dict(zip(keys, row.split(","), strict=True)) for row in ROWS.splitlines()]
    text = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    samples = loaded(written(tmp_path, text, "parts.jsonl"))
    assert samples == loaded(written(tmp_path, HEADER + ROWS))


def test_only_path_and_label_are_needed(tmp_path: Path) -> None:
    text = "label,path\ngood,a/1.png\ngood,a/2.png\nunknown,b/3.png\n"
    samples = loaded(written(tmp_path, text))
    assert samples.category == "parts"
    assert len(samples.train) == 1
    assert [(sample.label, sample.kind) for sample in samples.test] == [
        ("good", "good"),
        ("unknown", "unknown"),
    ]


def test_several_masks_and_categories(tmp_path: Path) -> None:
    lines = [
        {"path": "a/1.png", "label": "good", "category": "nut"},
        {"path": "a/2.png", "label": "good", "category": "bolt"},
        {
            "path": "b/3.png",
            "label": "anomalous",
            "category": "nut",
            "mask": ["masks/3.png", "masks/4.png"],
        },
    ]
    file = written(tmp_path, "\n".join(map(json.dumps, lines)), "parts.jsonl")
    assert MANIFEST.list_categories(file) == ["nut", "bolt"]
    (bad,) = MANIFEST.load(file, "nut").test
    assert bad.mask == Mask((tmp_path / "masks/3.png", tmp_path / "masks/4.png"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "parts.csv",
            "path,label,color\n",
            r"parts.csv: unknown column color; use path, lab",
        ),
        ("parts.csv", "path,kind\n", "no column label; path and label are required"),
        ("parts.csv", "", "no column path, label"),
        ("parts.csv", "path,label\n", "parts.csv lists no images"),
        ("parts.csv", "path,label\na/1.png\n", "line 2: label is ''"),
        ("parts.csv", "path,label\na/1.png,good,x\n", "line 2: expected 2 fields"),
        ("parts.csv", "path,label\na/9.png,good\na/1.png,good\n", "line 2: image .*9.png does not"),
        (
            "parts.csv",
            "path,label\na/1.png,ok\n",
            "line 2: label is 'ok'; expected good, anomalous",
        ),
        ("parts.csv", "path,label\n,good\n", "line 2: path is empty"),
        (
            "parts.csv",
            "path,label,kind\na/1.png,good,cut\n",
            "kind 'cut' does not fit label 'good'",
        ),
        ("parts.csv", "path,label,split\na/1.png,good,val\n", "split is 'val'; expected train or"),
        (
            "parts.csv",
            "path,label,split\na/1.png,good,train\na/2.png,good,\n",
            "line 3: no split, but other images of parts have one",
        ),
        (
            "parts.csv",
            "path,label,split\na/1.png,good,train\nb/3.png,anomalous,train\n",
            "line 3: b/3.png is anomalous but in train; only good images are learned from",
        ),
        (
            "parts.csv",
            "path,label,mask\na/1.png,good,\nb/3.png,anomalous,masks/9.png\n",
            "line 3: mask .*9.png does not exist",
        ),
        ("parts.csv", "path,label,mask\na/1.png,good,masks/3.png\n", "is good but has a mask"),
        (
            "parts.csv",
            "path,label,split\na/1.png,good,train\na/../a/1.png,good,test\n",
            r"line 3: a/\.\./a/1.png is the same file as a/1.png in line 2; list each",
        ),
        (
            "parts.csv",
            f"path,label\na/1.png,good\n{'n' * 5000}.png,good\n",
            r"line 3: image .* cannot be read \(file name too long\)",
        ),
        (
            "parts.csv",
            f"path,label,mask\na/1.png,good,\na/2.png,anomalous,{'n' * 5000}\n",
            r"line 3: mask .* cannot be read \(file name too long\)",
        ),
        ("parts.csv", "path,label,path\na/1.png,good,x\n", "has the column path more than once"),
        (
            "parts.jsonl",
            '{"path": "a/1.png", "label": "good"}\n' + "[" * 100_000 + "\n",
            "line 2: nested too deeply",
        ),
        ("parts.jsonl", '{"path": ' + "9" * 5000 + "}", "line 1: a number has too many digits"),
        ("parts.csv", "path,label\na/1.png,good\na/1.png,good\n", "1.png is listed 2 times; list"),
        ("parts.csv", "path,label\na/1.png,good\n", "no image of parts to judge"),
        ("parts.csv", "path,label\nb/3.png,anomalous\n", "no good image of parts to learn from"),
        ("parts.jsonl", "", "lists no images"),
        ("parts.jsonl", "path,label\n", "line 1: not JSON .*expected one object per line"),
        ("parts.jsonl", "[1]\n", "line 1: not a JSON object"),
        ("parts.jsonl", '{"path": "a/1.png", "label": "good", "tag": 1}', "unknown column tag"),
        ("parts.jsonl", '{"path": 1, "label": "good"}', "line 1: path is 1; expected a string"),
        ("parts.jsonl", '{"path": "a/1.png", "label": "good", "mask": 3}', "mask is 3; expected a"),
        ("parts.txt", "a", "is not named like a manifest: expected .csv, .jsonl"),
    ],
)
def test_a_mistake_is_explained(tmp_path: Path, name: str, text: str, message: str) -> None:
    file = written(tmp_path, text, name)
    with pytest.raises(DatasetError, match=message) as error:
        loaded(file)
    assert "\n" not in str(error.value)


def test_a_file_listed_again_by_its_full_path_is_refused(tmp_path: Path) -> None:
    rows = f"path,label,split\na/1.png,good,train\n{tmp_path / 'a/1.png'},good,test\n"
    with pytest.raises(DatasetError, match=r"1\.png is the same file as a/1\.png in line 2"):
        loaded(written(tmp_path, rows))


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0c"])
def test_a_path_may_contain_what_looks_like_a_line_end(tmp_path: Path, odd: str) -> None:
    name = f"a/1{odd}2.png"
    make(tmp_path, name)
    rows = [{"path": path, "label": "good"} for path in (name, "a/1.png", "a/2.png")]
    # A form feed is a control character, which must be escaped in JSON.
    lines = [json.dumps(row, ensure_ascii=odd == "\x0c") for row in rows]
    samples = loaded(written(tmp_path, "\r\n".join(lines), "parts.jsonl"))
    assert name in {sample.name for sample in (*samples.train, *samples.test)}


def test_a_wrong_path_is_explained(tmp_path: Path) -> None:
    written(tmp_path, HEADER + ROWS)
    with pytest.raises(DatasetError, match="does not exist; give a CSV or JSON-lines file"):
        loaded(tmp_path / "nowhere.csv")
    with pytest.raises(DatasetError, match=r"it holds parts\.csv: give one of them"):
        loaded(tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"path,label\n\xff,good\n")
    with pytest.raises(DatasetError, match=r"binary\.csv is not a CSV file in UTF-8"):
        loaded(tmp_path / "binary.csv")


def lookout_line(name: str, label: str | None, mask: str | None = None) -> dict[str, Any]:
    """Return a line as Lookout for Vision writes it."""
    line: dict[str, Any] = {"source-ref": f"s3://bucket/project/{name}"}
    if label is not None:
        line["anomaly-label"] = int(label == "anomaly")
        line["anomaly-label-metadata"] = {
            "class-name": label,
            "confidence": 1.0,
            "creation-date": "2024-10-12T14:16:45.668",
            "human-annotated": "yes",
            "job-name": "labeling-job/anomaly-label",
            "type": "groundtruth/image-classification",
        }
    if mask is not None:
        line["anomaly-mask-ref"] = f"s3://bucket/project/{mask}"
        line["anomaly-mask-ref-metadata"] = {
            "internal-color-map": {
                "0": {"class-name": "BACKGROUND", "hex-color": "#ffffff", "confidence": 0.0},
                "1": {"class-name": "scratch", "hex-color": "#2ca02c", "confidence": 0.0},
            },
            "type": "groundtruth/semantic-segmentation",
        }
    return line


def write_lines(file: Path, *lines: dict[str, Any]) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.mark.parametrize("prefix", ["bucket/project/", "project/", ""])
@pytest.mark.parametrize("below", ["", "{split}/", "datasets/"])
def test_an_export_of_lookout_for_vision_loads(tmp_path: Path, prefix: str, below: str) -> None:
    root = tmp_path / "circuits"
    make(root, *(prefix + name for name in IMAGES))
    expected = np.zeros((SIDE, SIDE), dtype=np.bool_)
    expected[2:4, 1:5] = True
    pixels = np.where(expected[..., np.newaxis], (0x2C, 0xA0, 0x2C), (255, 255, 255))
    Image.fromarray(pixels.astype(np.uint8)).save(root / prefix / "masks/3.png")
    for split in ("train", "test"):
        (root / below.format(split=split)).mkdir(exist_ok=True)
    write_lines(
        root / below.format(split="train") / "train.manifest",
        lookout_line("a/1.png", "normal"),
        lookout_line("b/3.png", "anomaly", "masks/3.png"),
    )
    write_lines(
        root / below.format(split="test") / "test.manifest", lookout_line("a/2.png", "normal")
    )
    samples = loaded(root)
    assert samples.category == "circuits"
    assert [sample.path for sample in samples.train] == [root / prefix / "a/1.png"]
    bad, good = samples.test
    assert (bad.name, bad.label, bad.kind) == (f"{prefix}b/3.png", "anomalous", "scratch")
    assert bad.mask is not None
    np.testing.assert_array_equal(read_mask(bad.mask, SIDE, SIDE), expected)
    assert good.label == "good"
    (warning,) = samples.warnings
    assert "1 of 2 images anomalous: judged, not learned from" in warning


def test_one_manifest_of_lookout_for_vision_is_split(tmp_path: Path) -> None:
    make(tmp_path, *IMAGES)
    file = write_lines(
        tmp_path / "all.manifest",
        lookout_line("a/1.png", "normal"),
        lookout_line("a/2.png", "normal"),
        lookout_line("b/3.png", None),
    )
    samples = loaded(file)
    assert (len(samples.train), [sample.label for sample in samples.test]) == (
        1,
        ["good", "unknown"],
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"source-ref": "s3://bucket/lost/9.png"},
            "not below .*expected bucket/lost/9",
        ),
        ({"source-ref": "a/1.png"}, "a/1.png is not an S3 address; expected s3://BUCKET/KEY"),
        ({"source-ref": "s3://bucket/../a/1.png"}, "points outside its folder"),
        ({"source-ref": 7}, "line 2: no source-ref"),
        ({"anomaly-mask-ref-metadata": {}}, "has no internal-color-map in its metadata"),
        ({"anomaly-mask-ref": "s3://bucket/9.png"}, "9.png is not below"),
        (
            {
                "anomaly-mask-ref-metadata": {
                    "internal-color-map": {"0": {"class-name": "BACKGROUND", "hex-color": "white"}}
                }
            },
            "hex-color of BACKGROUND is 'white'; expected #ffffff",
        ),
    ],
)
def test_a_mistake_in_a_line_of_lookout_is_explained(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    make(tmp_path, *IMAGES)
    bad = lookout_line("b/3.png", "anomaly", "masks/3.png") | change
    file = write_lines(tmp_path / "all.manifest", lookout_line("a/1.png", "normal"), bad)
    with pytest.raises(DatasetError, match=message) as error:
        loaded(file)
    assert "\n" not in str(error.value)


CHOSEN = {
    "anomaly-label": "kontrolle",
    "anomaly-label-metadata": "kontrolle-metadata",
    "anomaly-mask-ref": "kratzer-ref",
    "anomaly-mask-ref-metadata": "kratzer-ref-metadata",
}


def with_keys(line: dict[str, Any], keys: dict[str, str]) -> dict[str, Any]:
    return {keys.get(key, key): value for key, value in line.items()}


def test_keys_of_lookout_that_a_user_chose_are_found_by_their_type(tmp_path: Path) -> None:
    make(tmp_path, *IMAGES)
    lines = [
        lookout_line("a/1.png", "normal"),
        lookout_line("a/2.png", "normal"),
        lookout_line("b/3.png", "anomaly", "masks/3.png"),
    ]
    usual = loaded(write_lines(tmp_path / "all.manifest", *lines))
    # The result of another labelling job.
    other_job = {"line": 0, "line-metadata": {"class-name": "A", "type": TYPE}}
    renamed = [other_job | with_keys(line, CHOSEN) for line in lines]
    chosen = loaded(write_lines(tmp_path / "all.manifest", *renamed))
    assert replace(chosen, warnings=()) == usual
    (remark,) = chosen.warnings
    assert "labels other than normal and anomaly are ignored: 'A' (3); check that none" in remark
    assert [sample.label for sample in usual.test] == ["good", "anomalous"]
    assert usual.test[1].kind == "scratch"
    assert usual.test[1].mask is not None


TYPE = "groundtruth/image-classification"


def test_other_class_names_are_unknown_with_a_remark(tmp_path: Path) -> None:
    make(tmp_path, *IMAGES)
    file = write_lines(
        tmp_path / "all.manifest",
        lookout_line("a/1.png", "Normal"),
        lookout_line("a/2.png", "normal"),
        lookout_line("b/3.png", "blurred"),
        lookout_line("masks/3.png", "anomaly")
        | {"second": 1, "second-metadata": {"class-name": "normal", "type": TYPE}},
    )
    samples = loaded(file)
    labels = [sample.label for sample in (*samples.train, *samples.test)]
    assert labels == ["good", "good", "unknown", "unknown"]
    (remark,) = samples.warnings
    assert "label unknown for 2 of 4 images, not learned from: expected one class name" in remark
    assert "normal or anomaly, found 'blurred' (1), 'anomaly' and 'normal' (1)" in remark


def test_labels_of_other_words_or_types_are_named_where_nothing_is_good(tmp_path: Path) -> None:
    make(tmp_path, *IMAGES)
    names = ("a/1.png", "a/2.png")
    file = write_lines(tmp_path / "all.manifest", *(lookout_line(name, "ok") for name in names))
    with pytest.raises(DatasetError, match=r"no good image.*normal or anomaly, found 'ok' \(2\)$"):
        loaded(file)
    boxes = {"boxes": {}, "boxes-metadata": {"type": "groundtruth/object-detection"}}
    write_lines(file, *(lookout_line(name, None) | boxes for name in names))
    with pytest.raises(DatasetError, match=r"no good image.*object-detection \(2\)$"):
        loaded(file)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (
            {"second": 1, "second-metadata": {"class-name": "Anomaly ", "type": TYPE}},
            "'normal' and 'Anomaly ' (2)",
        ),
        ({"anomaly-label-metadata": "normal"}, "no label (2)"),
        ({"anomaly-label-metadata": {"class-name": None, "type": TYPE}}, "no class name (2)"),
        ({"anomaly-label-metadata": {"class-name": ["normal"], "type": TYPE}}, "['normal'] (2)"),
    ],
)
def test_a_label_that_is_not_unique_is_unknown_and_reported_once(
    tmp_path: Path, change: dict[str, Any], shown: str
) -> None:
    make(tmp_path, *IMAGES)
    odd = [lookout_line(name, "normal") | change for name in ("a/1.png", "a/2.png")]
    write_lines(tmp_path / "train.manifest", *odd)
    write_lines(tmp_path / "test.manifest", lookout_line("b/3.png", "anomaly") | change)
    with pytest.raises(DatasetError) as raised:
        loaded(tmp_path)
    file = tmp_path / "train.manifest"
    assert str(raised.value) == (
        f"{file} has no good image of {tmp_path.name} to learn from: label unknown for 2 of 2 "
        f"images, not learned from: expected one class name, normal or anomaly, found {shown}"
    )
