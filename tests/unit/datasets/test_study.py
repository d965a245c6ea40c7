"""Parts of known answer are told by folders, by a pattern, or by a CSV file."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from patchbank.datasets.study import Study, StudyImage, read_study, study_of_files
from patchbank.errors import DatasetError, ParameterError


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (90, 90, 90)).save(path)
    return root


def found_in(study: Study) -> list[tuple[str, str, str]]:
    return [(image.name, image.part, image.answer) for image in study.images]


def test_parts_are_told_by_their_folders(tmp_path: Path) -> None:
    root = make(
        tmp_path, "OK/p1/1.png", "OK/p1/2.png", "OK/p10/1.png", "defect/p1/1.png",
        "defect/scratch/p7/1.png", "defect/scratch/p7/2.png", "dent/003.png", "ground_truth/1.png",
        "OK/p1/heat.txt.png",
    )  # fmt: skip
    study = read_study(root)
    assert found_in(study) == [
        ("OK/p1/1.png", "OK/p1", "good"),
        ("OK/p1/2.png", "OK/p1", "good"),
        ("OK/p1/heat.txt.png", "OK/p1", "good"),
        ("OK/p10/1.png", "OK/p10", "good"),
        ("defect/p1/1.png", "defect/p1", "defect"),
        ("defect/scratch/p7/1.png", "defect/scratch/p7", "defect"),
        ("defect/scratch/p7/2.png", "defect/scratch/p7", "defect"),
        ("dent/003.png", "dent/003", "dent"),
    ]
    assert [image.defective for image in study.images] == [False] * 4 + [True] * 4
    (remark,) = study.remarks
    assert remark.endswith("ground_truth is not read: it is named like a folder of masks")


@pytest.mark.parametrize("prefix", ["", "study/", "study\\"])
def test_parts_are_told_by_the_names_that_files_have_in_their_folder(
    tmp_path: Path, prefix: str
) -> None:
    names = (
        "OK/p1/1.png", "OK/p1/2.png", "defect/scratch/p7/1.png", "dent/003.png",
        "ground_truth/1.png",
    )  # fmt: skip
    make(tmp_path, *names)
    separator = prefix[-1:] or "/"
    sent = [prefix + name.replace("/", separator) for name in names]
    study = study_of_files([tmp_path / name for name in names], sent)
    assert found_in(study) == found_in(read_study(tmp_path))
    assert [image.source for image in study.images] == [tmp_path / name for name in names[:-1]]
    (remark,) = study.remarks
    assert remark == "ground_truth is not read: it is named like a folder of masks"


def test_names_without_an_answer_are_left_out_or_refused() -> None:
    study = study_of_files([b"1", b"2"], ["good/1.png", "notes.png"])
    assert found_in(study) == [("good/1.png", "good/1", "good")]
    assert "left out, since the answer is not known: notes.png" in study.remarks[0]
    by_pattern = study_of_files([b"1", b"2"], ["good/a_1.png", "good/a_2.png"], "(.*)_")
    assert [image.part for image in by_pattern.images] == ["good/a", "good/a"]
    for names in (["1.png"], ["scratch/1.png"], ["a/1.png", "b/1.png"], ["x/scratch/1/1.png"]):
        with pytest.raises(DatasetError, match="expected the folder good"):
            study_of_files([b""] * len(names), names)
    with pytest.raises(ParameterError, match="not a regular expression"):
        study_of_files([b"1"], ["good/1.png"], "(")


def test_a_folder_named_like_a_kind_of_defect_is_no_part(tmp_path: Path) -> None:
    root = make(
        tmp_path, "good/1.png", "bad/scratch/1.png", "bad/scratch/2.png", "bad/crack_2/1.png"
    )
    assert [part for _, part, _ in found_in(read_study(root))] == [
        "bad/crack_2", "bad/scratch/1", "bad/scratch/2", "good/1",
    ]  # fmt: skip


def test_parts_are_told_by_a_pattern(tmp_path: Path) -> None:
    root = make(tmp_path, "good/a_1.png", "good/b_1.png", "good/a_2.png", "scratch/x/a_1.png")
    assert [(image.name, image.part) for image in read_study(root, r"([a-z]+)_\d+$").images] == [
        ("good/a_1.png", "good/a"),
        ("good/a_2.png", "good/a"),
        ("good/b_1.png", "good/b"),
        ("scratch/x/a_1.png", "scratch/a"),
    ]
    whole = read_study(root, r"^.*(?=_)")
    assert [image.part for image in whole.images][-1] == "scratch/x/a"
    for pattern, expected in (
        ("(", "not a regular expression"),
        (r"_(\d\d)", "finds no part in a_1"),
        ("()a", "finds no part in a_1"),
    ):
        with pytest.raises(ParameterError, match=r"--part-from .*" + expected):
            read_study(root, pattern)


def test_parts_are_listed_in_a_file(tmp_path: Path) -> None:
    make(tmp_path, "cam1/7.png", "cam2/7.png", "cam1/8.png")
    file = tmp_path / "parts.csv"
    file.write_text(
        "Operator;Image;Part;Answer\nA;cam1/7.png;7;OK\nB;cam1/8.png;8;scratch\n"
        "A;cam2\\7.png;7;good\n"
    )
    study = read_study(file)
    assert [(Path(str(image.source)).name, image.part, image.answer) for image in study.images] == [
        ("7.png", "7", "good"), ("7.png", "7", "good"), ("8.png", "8", "scratch"),
    ]  # fmt: skip
    assert study.told_by == "the column part of parts.csv"
    with pytest.raises(ParameterError, match="leave --part-from out"):
        read_study(file, "x")
    for text, expected in (
        ("image,part\ncam1/7.png,7\n", "no column answer"),
        ("image,part,answer\n", "lists no images"),
        ("image,part,answer\ncam1/7.png,,good\n", "line 2: part is empty"),
        ("image,part,answer\ncam1/9.png,9,good\n", "line 2: image .*9.png does not exist"),
        ("image,part,answer\ncam1/7.png,7,perhaps\n", "line 2: answer is 'perhaps'; give good"),
        (
            "image,part,answer\ncam1/7.png,7,good\ncam2/7.png,7,crack\n",
            "part 7 is good and crack; give each part one answer",
        ),
        ("image,part,answer\ncam1/7.png,7,good\ncam1/7.png,7,good\n", "is listed 2 times"),
    ):
        file.write_text(text)
        with pytest.raises(DatasetError, match=expected):
            read_study(file)


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"does not exist; give the folder that holds good/PART"):
        read_study(tmp_path / "nothing")
    with pytest.raises(DatasetError, match=r"expected .*good with the good parts; found"):
        read_study(make(tmp_path / "a", "scratch/p1/1.png"))
    with pytest.raises(DatasetError, match=r"images to learn from, not a study; give .*test"):
        read_study(make(tmp_path / "b", "train/good/1.png", "test/good/1.png"))
    root = make(tmp_path / "c", "good/p1/1.png", "scratch/p2/1.png", "loose.png")
    (remark,) = read_study(root).remarks
    assert "their answer is not known" in remark
    (tmp_path / "d" / "good").mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds no image; expected good/PART/IMAGE"):
        read_study(tmp_path / "d")


def test_images_in_memory_are_gathered_by_part() -> None:
    images = [StudyImage(b"", f"{number}", f"p{number % 2}", "good") for number in range(4)]
    assert [image.name for image in Study.of(images).images] == ["0", "2", "1", "3"]
