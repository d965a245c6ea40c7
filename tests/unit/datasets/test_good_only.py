"""Which folders, files and globs are data sets rather than good images only."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbank.datasets.collect import Collected, collect, remarks_on_named
from patchbank.datasets.words import quality_of
from patchbank.errors import DatasetError
from tests.fixtures.trees import make, make_dataset, photograph


def names(found: Collected, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found.images]


@pytest.mark.parametrize(
    ("dataset", "below", "good"),
    [
        ("mvtec", "", ["tile/train/good"]),
        ("mvtec", "tile", ["tile/train/good"]),
        ("mvtec", "tile/test", ["tile/train/good"]),
        ("mvtec", "tile/test/crack", ["tile/train/good"]),
        ("mvtec-ad2", "", ["can/train/good"]),
        ("mvtec-ad2", "can", ["can/train/good"]),
        ("mvtec-ad2", "can/test_public", ["can/train/good"]),
        ("mvtec-loco", "pushpins", ["pushpins/train/good"]),
        ("mvtec-loco", "pushpins/test", ["pushpins/train/good"]),
        ("visa", "", ["candle/Data/Images/Normal"]),
        ("visa", "candle", ["candle/Data/Images/Normal"]),
        ("visa", "candle/Data/Images", ["candle/Data/Images/Normal"]),
        ("btad", "", ["01/train/ok"]),
        ("btad", "01", ["01/train/ok"]),
        ("btad", "01/test", ["01/train/ok"]),
        ("kolektorsdd2", "", ["train"]),
        ("deeppcb", "", ["**/*_temp.*"]),
        ("deeppcb", "group0/0", ["group0/0/**/*_temp.*"]),
        ("folder", "", ["good"]),
    ],
)
def test_a_data_set_is_refused_and_its_good_images_are_named(
    tmp_path: Path, dataset: str, below: str, good: list[str]
) -> None:
    root = make_dataset(dataset, tmp_path / "set")
    for path in (root / below, root / below / "**" / "*.*"):
        with pytest.raises(DatasetError, match=r"(of|is) a data set") as error:
            collect([path], good_only=True)
        assert "\n" not in str(error.value)
        for folder in good:
            assert str(error.value).endswith(str(root / folder))


@pytest.mark.parametrize(
    ("files", "good"),
    [
        (
            ("train/ok_front/1.png", "train/def_front/1.png", "test/ok_front/1.png"),
            "train/ok_front",
        ),
        (("good_parts/1.png", "bad_parts/1.png"), "good_parts"),
        (("images_good/1.png", "images_defect/1.png"), "images_good"),
        (("0_good/1.png", "1_bad/1.png"), "0_good"),
        (("goodParts/1.png", "NGParts/1.png"), "goodParts"),
        (("gut/1.png", "schlecht/1.png"), "gut"),
        (("i.O./1.png", "n.i.O./1.png"), "i.O."),
        (("pass/1.png", "fail/1.png"), "pass"),
        (("Normal/1.png", "Scratches/1.png"), "Normal"),
        (("no_crack/1.png", "crack/1.png"), "no_crack"),
        (("uncracked/1.png", "cracked/1.png"), "uncracked"),
        (("intact/1.png", "damaged/1.png"), "intact"),
        (("goodparts/1.png", "badparts/1.png"), "goodparts"),
        (("defect-free/1.png", "defective/1.png"), "defect-free"),
        (("train_good/1.png", "test_crack/1.png"), "train_good"),
        (("train_set/good/1.png", "test_set/cut/1.png"), "train_set/good"),
        (("train2017/1.png", "val2017/1.png"), "train2017"),
        (("Positive/1.png", "Negative/1.png"), None),
        (("Class1/1.png", "Class1_def/1.png"), None),
        (("train/ng/1.png", "train/1.png", "test/1.png"), None),
        (("good/anomalous_1/1.png", "good/1.png"), None),
    ],
)
def test_words_in_names_of_folders_show_a_labelled_set(
    tmp_path: Path, files: tuple[str, ...], good: str | None
) -> None:
    make(tmp_path, *files)
    with pytest.raises(DatasetError, match="is a data set") as error:
        collect([tmp_path], good_only=True)
    remedy = "a folder with good images only" if good is None else str(tmp_path / good)
    assert str(error.value).endswith(remedy)


@pytest.mark.parametrize(
    "files",
    [
        ("good_1.png", "good_2.png", "bad_1.png"),
        ("ok-1.png", "ng-1.png"),
        ("a/normal1.png", "b/crack1.png"),
    ],
)
def test_words_in_names_of_files_show_a_labelled_set(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    make(tmp_path, *files)
    for given in ([tmp_path], [tmp_path / name for name in files]):
        with pytest.raises(DatasetError, match="not good, judging by their names"):
            collect(given, good_only=True)
    assert len(collect([tmp_path]).images) == len(files)


def test_the_templates_of_tested_boards_may_be_given(tmp_path: Path) -> None:
    root = make_dataset("deeppcb", tmp_path)
    found = collect([root / "**/*_temp.*"], good_only=True)
    assert names(found, root / "group0/0") == ["00_temp.jpg", "01_temp.jpg", "02_temp.jpg"]
    for given in ([root / "**/*_test.*"], [root / "group0/0/01_test.jpg"]):
        with pytest.raises(DatasetError, match="boards with defects are beside their templates"):
            collect(given, good_only=True)
    make(tmp_path, "other/1_test.jpg", "other/2_temp.jpg")
    assert len(collect([tmp_path / "other"], good_only=True).images) == 2


def test_images_that_are_excluded_may_be_defective(tmp_path: Path) -> None:
    files = ["good_1.png", "good_2.png", "bad_1.png"]
    make(tmp_path, *files)
    for given in ([tmp_path], [tmp_path / name for name in files]):
        for excluded in ("bad_1.png", str(tmp_path / "bad_1.png")):
            found = collect(given, good_only=True, exclude=[excluded])
            assert (len(found.images), found.remarks) == (3, ())
    with pytest.raises(DatasetError):
        collect([tmp_path], good_only=True, exclude=["good_1.png"])


def test_a_bad_name_without_good_names_gives_a_remark(tmp_path: Path) -> None:
    make(tmp_path, "1.png", "2.png", "bad_3.png")
    (remark,) = collect([tmp_path], good_only=True).remarks
    assert remark.startswith("1 of 3 images used despite names for defective parts")
    assert remark.endswith("bad_3.png")


@pytest.mark.parametrize(
    ("pattern", "good"),
    [
        ("set/*", "set/good"),
        ("set/*/*.png", "set/good"),
        ("set/bad", "set/good"),
        ("set/bad/*/*.png", "set/good"),
        ("mv/*", "mv/train/good"),
        ("mv/*/*/*.png", "mv/train/good"),
        ("mv/test/*/*.png", "mv/train/good"),
        ("cast/train/*", "cast/train/ok_front"),
        ("cast/train/def*/*", "cast/train/ok_front"),
    ],
)
def test_paths_expanded_by_a_shell_are_checked_together(
    tmp_path: Path, pattern: str, good: str
) -> None:
    make(
        tmp_path,
        *("set/good/1.png", "set/good/2.png", "set/bad/3.png", "set/bad/crack/4.png"),
        *("mv/train/good/1.png", "mv/test/good/2.png", "mv/test/cut/3.png"),
        *("cast/train/ok_front/1.png", "cast/train/def_front/2.png"),
    )
    expanded = sorted(tmp_path.glob(pattern))
    assert expanded
    for paths in (expanded, [tmp_path / pattern]):
        with pytest.raises(DatasetError) as error:
            collect(paths, good_only=True)
        assert str(error.value).endswith(str(tmp_path / good))
    files = [path for path in expanded if path.is_file()]
    if files:
        with pytest.raises(DatasetError):
            remarks_on_named(files, good_only=True)


def test_a_glob_that_leads_past_good_takes_no_defects(tmp_path: Path) -> None:
    make(tmp_path, "good/ok/1.png", "good/defects/2.png")
    with pytest.raises(DatasetError, match=r"good/ok$"):
        collect([tmp_path / "*/*/*.png"], good_only=True)


def test_every_category_of_a_root_is_named(tmp_path: Path) -> None:
    categories = ["bottle", "cable", "tile"]
    for category in categories:
        make(tmp_path, f"{category}/train/good/0.png", f"{category}/test/cut/0.png")
    with pytest.raises(DatasetError) as error:
        collect([tmp_path], good_only=True)
    for category in categories:
        assert str(tmp_path / category / "train" / "good") in str(error.value)


def test_a_tree_of_any_names_is_a_data_set_where_good_stands_beside_kinds(tmp_path: Path) -> None:
    make(tmp_path, "line1/OK/1.png", "line1/scratched/1.png", "line2/OK/1.png", "line2/NG/1.png")
    with pytest.raises(DatasetError, match=r"line1/OK, .*line2/OK$"):
        collect([tmp_path], good_only=True)


def test_a_subfolder_named_as_bad_is_refused_without_one_named_as_good(
    tmp_path: Path,
) -> None:
    make(tmp_path, "1.png", "2.png", "defects/1.png")
    with pytest.raises(DatasetError, match=r"holds defects.*folder with good images only"):
        collect([tmp_path], good_only=True)


@pytest.mark.parametrize(
    "files",
    [
        ("2026-11-24/1.png", "2026-11-25/1.png", "3.png"),
        ("camera-left/1.png", "camera-right/1.png"),
        ("good/1.png", "good/monday/2.png"),
        ("normal/1.png", "dark/1.png", "bright/1.png"),
        ("good/1.png", "20261125/1.png", "camera2/1.png"),
        ("test/1.png", "pilot/1.png"),
        ("train/good/1.png",),
        ("good/1.png", "@eaDir/1.png", "good/notes.csv"),
        ("good/1.png", "good2/1.png", "more_good/1.png", "new/1.png", "monday/1.png"),
        ("test/2026-01-01/1.png", "test/line 2/1.png"),
        ("good/1.png", "KW24/1.png"),
        ("goods/1.png", "misc/1.png"),
        ("pass1/1.png", "thermal/1.png"),
        ("good/no_defects_1.png", "good/ok_1.png"),
        ("good_no_1/1.png", "good_no_2/1.png"),
    ],
)
def test_folders_by_date_camera_or_light_are_no_data_set(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    make(tmp_path, *files)
    found = collect([tmp_path], good_only=True)
    expected = [name for name in files if name.endswith(".png") and "@" not in name]
    assert sorted(names(found, tmp_path)) == sorted(expected)


def test_days_in_a_folder_named_test_are_not_kinds_of_defect(tmp_path: Path) -> None:
    make(tmp_path, "train/good/1.png", "test/2026-01-01/1.png")
    assert len(collect([tmp_path / "test/2026-01-01"], good_only=True).images) == 1


def test_the_good_images_of_a_data_set_may_be_named_by_folder_or_glob(tmp_path: Path) -> None:
    make_dataset("mvtec", tmp_path)
    chosen = collect([tmp_path / "tile/*/good/*.png"], good_only=True)
    named = collect([tmp_path / "tile/train/good", tmp_path / "tile/test/good"], good_only=True)
    assert names(chosen, tmp_path) == [
        "tile/test/good/000.png",
        "tile/train/good/000.png",
        "tile/train/good/001.png",
    ]
    assert sorted(chosen.images) == sorted(named.images)


@pytest.mark.parametrize("pure", [True, False])
@pytest.mark.parametrize("suffix", ["csv", "manifest"])
def test_a_manifest_in_the_folder_that_lists_anomalies_refuses_it(
    tmp_path: Path, pure: bool, suffix: str
) -> None:
    good, bad = ("images/a/1.png", "images/b/2.png") if pure else ("all/1.png", "all/2.png")
    photograph(tmp_path / good, tmp_path / bad)
    if suffix == "csv":
        (tmp_path / "list.csv").write_text(f"path,label\n{good},good\n{bad},anomalous\n")
    else:
        (tmp_path / "train.manifest").write_text(
            "".join(
                f'{{"source-ref": "s3://bucket/{name}", '
                f'"anomaly-label-metadata": {{"class-name": "{label}"}}}}\n'
                for name, label in ((good, "normal"), (bad, "anomaly"))
            )
        )
    with pytest.raises(DatasetError, match="lists 1 anomalous image in it") as error:
        collect([tmp_path], good_only=True)
    remedy = f"its good images: {tmp_path / 'images/a'}" if pure else "to a separate folder"
    assert str(error.value).endswith(remedy)


@pytest.mark.parametrize("pattern", ["images", "images/a", "images/*/*.png"])
def test_a_manifest_above_the_folder_that_lists_anomalies_refuses_it(
    tmp_path: Path, pattern: str
) -> None:
    photograph(tmp_path / "images/a/1.png", tmp_path / "images/a/2.png")
    (tmp_path / "parts.csv").write_text(
        "path,label\nimages/a/1.png,good\nimages/a/2.png,anomalous\n"
    )
    for paths in ([tmp_path / pattern], sorted(tmp_path.glob(pattern))):
        with pytest.raises(DatasetError, match=r"parts\.csv lists 1 anomalous image"):
            collect(paths, good_only=True)
    assert len(collect([tmp_path / "images/a/1.png"], good_only=True).images) == 1


@pytest.mark.parametrize("suffix", ["csv", "manifest"])
def test_images_of_unknown_label_in_a_manifest_give_a_remark(tmp_path: Path, suffix: str) -> None:
    photograph(tmp_path / "all/1.png", tmp_path / "all/2.png")
    if suffix == "csv":
        text = "path,label\nall/1.png,good\nall/2.png,unknown\n"
    else:
        text = "".join(
            f'{{"source-ref": "s3://bucket/{name}", '
            f'"anomaly-label-metadata": {{"class-name": "{label}"}}}}\n'
            for name, label in (("all/1.png", "normal"), ("all/2.png", "scratch"))
        )
    file = tmp_path / f"list.{suffix}"
    file.write_text(text)
    found = collect([tmp_path], good_only=True)
    assert len(found.images) == 2
    remark = f"{file} does not say whether 1 image is good; leave out any that is not: all/2.png"
    assert remark in found.remarks
    assert not any("whether" in line for line in collect([tmp_path]).remarks)


def test_a_table_that_is_not_a_manifest_is_ignored(tmp_path: Path) -> None:
    photograph(tmp_path / "1.png")
    (tmp_path / "measured.csv").write_text("time;temperature\n1;20\n")
    (tmp_path / "all.csv").write_text("path,label\n1.png,good\n")
    assert names(collect([tmp_path], good_only=True), tmp_path) == ["1.png"]


def test_a_sentence_is_not_a_label() -> None:
    assert quality_of("bad_front_side") == "bad"
    assert quality_of("photographs_after_the_bad_batch_of_may") is None
