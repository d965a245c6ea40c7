"""Composed (NFC) and decomposed (NFD) spellings of a name are the same."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from patchbank.datasets.catalogue import DATASETS
from patchbank.datasets.collect import collect
from patchbank.datasets.layouts.shared import held_out
from patchbank.datasets.samples import CategorySamples
from patchbank.inspection.sources import without
from tests.fixtures.trees import black, make

Spell = Callable[[str], str]


def nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def nfd(name: str) -> str:
    return unicodedata.normalize("NFD", name)


both_ways = pytest.mark.parametrize(("spell", "respell"), [(nfc, nfd), (nfd, nfc)])


def loaded(root: Path, dataset: str, category: str | None = None) -> CategorySamples:
    found = DATASETS[dataset]
    (first,) = found.list_categories(root)
    return found.load(root, category or first)


@both_ways
@pytest.mark.parametrize(
    ("dataset", "train", "images", "masks"),
    [
        (
            "mvtec",
            "Gehäuse/train/good/1.png",
            "Gehäuse/test/Lötfehler/kä.png",
            "Gehäuse/ground_truth/Lötfehler/kä_mask.png",
        ),
        (
            "mvtec-loco",
            "Gehäuse/train/good/1.png",
            "Gehäuse/test/logical_anomalies/kä.png",
            "Gehäuse/ground_truth/logical_anomalies/kä/000.png",
        ),
        ("folder", "good/1.png", "bad/Lötfehler/kä.png", "masks/Lötfehler/kä.png"),
        ("folder", "good/1.png", "bad/kä.jpg", "masks/kä.png"),
    ],
)
def test_a_mask_belongs_to_its_image(
    tmp_path: Path, spell: Spell, respell: Spell, dataset: str, train: str, images: str, masks: str
) -> None:
    category, _, below = masks.partition("/")
    mask = f"{spell(category)}/{respell(below)}"
    make(tmp_path, spell(train), spell(train).replace("1.png", "2.png"), spell(images), mask)
    samples = loaded(tmp_path, dataset)
    (anomalous,) = [sample for sample in samples.test if sample.label == "anomalous"]
    assert anomalous.mask is not None
    assert anomalous.mask.paths == (tmp_path / mask,)
    assert not [text for text in samples.warnings if "no mask" in text or "mask of" in text]


def test_two_images_that_differ_in_spelling_alone_keep_their_own_masks(tmp_path: Path) -> None:
    kind, truth = "nut/test/crack", "nut/ground_truth/crack"
    make(tmp_path, "nut/train/good/1.png")
    for spell in (nfc, nfd):
        make(tmp_path, f"{kind}/{spell('ä.png')}", f"{truth}/{spell('ä_mask.png')}")
    if len(list((tmp_path / kind).iterdir())) == 1:
        pytest.skip("this file system treats both names as the same")
    for sample in loaded(tmp_path, "mvtec").test:
        assert sample.mask is not None
        assert sample.mask.paths[0].name == sample.path.name.replace(".png", "_mask.png")


@both_ways
def test_masks_beside_their_images_belong_to_them(
    tmp_path: Path, spell: Spell, respell: Spell
) -> None:
    for split in ("train", "test"):
        make(tmp_path, f"{split}/{spell('ä.png')}")
        black(tmp_path / split / respell("ä_GT.png"))
    samples = loaded(tmp_path, "kolektorsdd2")
    assert len(samples.train) == len(samples.test) == 1


@both_ways
def test_a_manifest_may_spell_paths_kinds_and_categories_otherwise(
    tmp_path: Path, spell: Spell, respell: Spell
) -> None:
    make(tmp_path, *(spell(f"Maße/ä{number}.png") for number in range(4)), spell("masks/ä.png"))
    rows = [
        "path,label,kind,split,mask,category",
        respell("Maße/ä0.png") + ",good,,train,," + spell("Gehäuse"),
        respell("Maße/ä1.png") + ",good,,test,," + respell("Gehäuse"),
        respell("Maße/ä2.png,anomalous,Lötfehler,test,masks/ä.png,Gehäuse"),
        spell("Maße/ä3.png,anomalous,Lötfehler,test,,Gehäuse"),
    ]
    file = tmp_path / "parts.csv"
    file.write_text("\n".join(rows), encoding="utf-8")
    samples = loaded(file, "manifest", respell("Gehäuse"))
    assert samples.category == nfc("Gehäuse")
    assert samples.kinds == {"good": 1, nfc("Lötfehler"): 2}
    assert all(sample.path.is_file() for sample in (*samples.train, *samples.test))
    assert samples.test[1].mask is not None
    assert samples.test[1].mask.paths == (tmp_path / spell("masks/ä.png"),)


@both_ways
def test_visa_may_spell_paths_and_objects_otherwise(
    tmp_path: Path, spell: Spell, respell: Spell
) -> None:
    make(tmp_path, spell("dübel/1.png"), spell("dübel/2.png"), "split_csv/1cls.csv")
    (tmp_path / "split_csv/1cls.csv").write_text(
        "object,split,label,image,mask\n"
        + spell("dübel,train,normal,dübel/1.png,\n")
        + respell("dübel,test,normal,dübel/2.png,\n"),
        encoding="utf-8",
    )
    assert len(loaded(tmp_path, "visa").test) == 1


@both_ways
def test_lookouts_manifest_may_spell_paths_otherwise(
    tmp_path: Path, spell: Spell, respell: Spell
) -> None:
    make(tmp_path, spell("ä/1.png"), spell("ä/2.png"))
    lines = [
        json.dumps(
            {
                "source-ref": f"s3://bucket/{respell('ä')}/{number}.png",
                "anomaly-label-metadata": {"class-name": "normal"},
            }
        )
        for number in (1, 2)
    ]
    (tmp_path / "all.manifest").write_text("\n".join(lines), encoding="utf-8")
    assert len(loaded(tmp_path / "all.manifest", "manifest").train) == 1


@both_ways
@pytest.mark.parametrize("path", ["ä/ö", "ä/ö/ü1.png", "ä/ö/ü*.png", "*/ö/*.png"])
def test_a_path_may_be_given_otherwise(
    tmp_path: Path, spell: Spell, respell: Spell, path: str
) -> None:
    make(tmp_path, spell("ä/ö/ü1.png"))
    assert collect([tmp_path / respell(path)]).images == (tmp_path / spell("ä/ö/ü1.png"),)
    assert collect([tmp_path / spell(path)]).images == (tmp_path / spell("ä/ö/ü1.png"),)


@both_ways
def test_a_data_set_may_be_given_otherwise(tmp_path: Path, spell: Spell, respell: Spell) -> None:
    make(tmp_path, spell("ä/good/1.png"), spell("ä/good/2.png"))
    assert loaded(tmp_path / respell("ä"), "folder").train


@both_ways
@pytest.mark.parametrize("wanted", ["ä.png", "teile/ä.png"])
def test_an_image_to_leave_out_may_be_named_otherwise(
    spell: Spell, respell: Spell, wanted: str
) -> None:
    names = [spell("teile/ä.png"), spell("teile/ö.png")]
    assert without(names, names, [respell(wanted)]) == ([names[1]], [names[1]])


def test_the_images_judged_are_the_same_however_names_are_spelled() -> None:
    names = [f"teile/ä{number}.png" for number in range(20)]
    assert {nfc(name) for name in held_out([nfd(name) for name in names])} == held_out(
        [nfc(name) for name in names]
    )
