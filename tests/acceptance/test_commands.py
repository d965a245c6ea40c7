"""What each command answers, on small surfaces and a real database."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchbank.vision import runtime
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces, brushed

SMALL = ("--image-size", "96")
INSPECTION_KEYS = {
    "inspection_id", "inspected_at", "image", "category", "verdict", "score", "pass_below",
    "fail_above", "p_value", "calibration_images", "independent_references", "regions", "similar",
    "similar_defects", "probable_defect", "likeness",
    "bank_version", "extractor_fingerprint", "sha256", "width", "height", "brightness",
    "sharpness", "share_outside", "heatmap", "timings_ms", "recorded", "part", "station",
    "actor", "image_kept", "remarks",
}  # fmt: skip
FIGURES = (
    "image_auroc", "average_precision", "f1_max", "false_alarm_rate", "recall", "pixel_auroc",
    "aupro",
)  # fmt: skip


def test_fit_says_what_it_did(patchbank: Run, surfaces: Surfaces) -> None:
    outcome = patchbank("fit", "brushed", surfaces.train, *SMALL, "--false-alarm-rate", "0.05")
    assert outcome.code == 0, outcome.err
    lines = {line.split(maxsplit=1)[0]: line for line in outcome.out.splitlines()}
    assert "24 used" in lines["images"]
    assert "3,456 of 152 dimensions" in lines["patches"]  # 24 images of 12 x 12
    assert "346 patches" in lines["bank"]
    assert all(stage in lines["seconds"] for stage in ("features", "coreset", "database"))
    assert "from 24 good parts" in lines["calibration"]
    assert "need" not in lines["calibration"].split(";")[0]


def test_fit_tells_how_many_images_the_rate_needs(learned: Outcome) -> None:
    calibration = learned.document["calibration"]
    assert calibration["sufficient"] is False
    assert calibration["guaranteed_false_alarm_rate"] == pytest.approx(1 / 25)
    assert "needs 99 good parts" in calibration["text"]
    (remark,) = [remark for remark in learned.document["remarks"] if "false-alarm rate" in remark]
    assert remark.startswith("24 reference images are too few for a false-alarm rate of 1 %")
    assert remark.endswith("add 75 more good images")


def test_fit_is_deterministic(patchbank: Run, surfaces: Surfaces) -> None:
    first, second = (
        patchbank("fit", name, surfaces.train, *SMALL, "--seed", "3", "--json").document
        for name in ("one", "two")
    )
    for key in ("covering_radius", "fail_above", "bank_size"):
        assert first[key] == second[key]
    other = patchbank("fit", "three", surfaces.train, *SMALL, "--seed", "4", "--json").document
    assert other["covering_radius"] != first["covering_radius"]


def test_fit_refuses_some_images_and_uses_the_rest(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    for number, file in enumerate(sorted(surfaces.train.iterdir())[:5]):
        (tmp_path / f"{number}.png").write_bytes(file.read_bytes())
    (tmp_path / "twin.png").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "text.png").write_text("no picture")
    outcome = patchbank("fit", "brushed", tmp_path, *SMALL, "--json")
    assert outcome.code == 0
    assert outcome.document["images"] == 5
    refused = {Path(one["image"]).name: one["error"] for one in outcome.document["refused"]}
    assert refused.keys() == {"twin.png", "text.png"}
    assert "same picture as" in refused["twin.png"]
    assert outcome.err.count("refused  ") == 2


def test_inspect_passes_good_and_fails_scratched(
    patchbank: Run, surfaces: Surfaces, learned: Outcome, tmp_path: Path
) -> None:
    good = patchbank("inspect", "brushed", surfaces.good, "--json")
    bad = patchbank("inspect", "brushed", surfaces.scratched, "--json", "--heatmaps", tmp_path)
    assert [one["verdict"] for one in bad.documents] == ["fail"] * 8
    assert bad.code == 1
    verdicts = [one["verdict"] for one in good.documents]
    assert verdicts.count("pass") >= 6
    assert good.code == int("fail" in verdicts)
    for one in good.documents + bad.documents:
        assert one.keys() == INSPECTION_KEYS
        assert one["bank_version"] == learned.document["bank_version"]
        assert one["fail_above"] == pytest.approx(learned.document["fail_above"])
        assert (one["verdict"] == "fail") == (one["score"] > one["fail_above"])
        similarities = [similar["similarity"] for similar in one["similar"]]
        assert len(similarities) == 10
        assert similarities == sorted(similarities, reverse=True)
        assert one["timings_ms"]["total"] > 0


def test_regions_and_heatmaps_show_the_scratch(
    patchbank: Run, surfaces: Surfaces, learned: Outcome, tmp_path: Path
) -> None:
    file = surfaces.scratched / "003.png"
    outcome = patchbank("inspect", "brushed", file, "--json", "--heatmaps", tmp_path / "maps")
    mask = np.asarray(Image.open(surfaces.root / "brushed/ground_truth/scratch/003_mask.png")) > 0
    rows, columns = np.nonzero(mask)
    x0, y0, x1, y1 = outcome.document["regions"][0]["box_xyxy"]
    assert x0 <= columns.mean() <= x1
    assert y0 <= rows.mean() <= y1
    heatmap = Path(outcome.document["heatmap"])
    assert heatmap.parent == tmp_path / "maps"
    with Image.open(heatmap) as picture:
        assert picture.width > 2 * 384
    assert [path.suffix for path in heatmap.parent.iterdir()] == [".png"]


def test_inspect_reports_a_bad_image_and_does_the_rest(
    patchbank: Run, surfaces: Surfaces, learned: Outcome, tmp_path: Path
) -> None:
    (tmp_path / "empty.png").touch()
    outcome = patchbank(
        "inspect", "brushed", tmp_path / "empty.png", surfaces.scratched / "000.png", "--json"
    )
    assert outcome.code == 2
    bad, done = outcome.documents
    assert bad["image"].endswith("empty.png")
    assert "empty.png" in bad["error"]
    assert done["verdict"] == "fail"


def test_inspect_for_people(patchbank: Run, surfaces: Surfaces, learned: Outcome) -> None:
    outcome = patchbank("inspect", "brushed", surfaces.scratched / "000.png", "--top", "3")
    assert outcome.code == 1
    assert outcome.out.startswith("FAIL")
    assert "region" in outcome.out
    assert outcome.out.count("train/good") == 3
    assert outcome.err == ""


def test_inspect_marks_a_reference_that_is_the_image_itself(
    patchbank: Run, surfaces: Surfaces, learned: Outcome, tmp_path: Path
) -> None:
    file = surfaces.train / "007.png"
    copy = tmp_path / "copy.bmp"
    Image.open(file).save(copy)
    for same in (file, copy):
        lines = patchbank("inspect", "brushed", same, "--top", "2").out.splitlines()
        assert lines[-2].split() == ["1.0000", str(file), "(itself)"]
        assert not lines[-1].endswith("(itself)")
        found = patchbank("inspect", "brushed", same, "--top", "2", "--json").document["similar"]
        assert [item["itself"] for item in found] == [True, False]


def test_a_reference_image_is_most_similar_to_itself(
    patchbank: Run, surfaces: Surfaces, learned: Outcome
) -> None:
    file = surfaces.train / "007.png"
    outcome = patchbank("search", "brushed", file, "--top", "4", "--json")
    similar = outcome.document["similar"]
    assert len(similar) == 4
    assert similar[0]["name"] == str(file)
    assert similar[0]["similarity"] == pytest.approx(1.0, abs=1e-5)
    assert similar[1]["similarity"] < 0.99


def test_a_center_crop_is_recorded_printed_and_shown(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    crop = ("--image-size", "96", "--center-crop", "64")
    outcome = patchbank("fit", "cropped", surfaces.train, *crop)
    assert "cropped to the central 64: the border is not inspected" in outcome.out
    document = patchbank("show", "cropped", "--json").document
    assert document["extractor"]["center_crop"] == 64
    picture = brushed(50)
    picture[:, :14] = 255  # in the border of 16 pixels only
    Image.fromarray(picture).save(tmp_path / "border.png")
    found = patchbank("inspect", "cropped", tmp_path / "border.png", "--json").document
    assert all(region["box_xyxy"][0] >= 16 for region in found["regions"])


def test_a_precision_belongs_to_the_bank(
    patchbank: Run, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "BF16" not in runtime._capabilities():
        complaint = patchbank(
            "fit", "coarse", surfaces.train, *SMALL, "--precision", "bf16"
        ).complaint
        assert complaint.startswith("precision bf16 needs AVX-512 BF16 or AMX")
        return
    outcome = patchbank("fit", "coarse", surfaces.train, *SMALL, "--precision", "bf16")
    assert "efficientnet-lite0 in bf16" in outcome.out
    assert patchbank("show", "coarse", "--json").document["extractor"]["precision"] == "bf16"
    assert patchbank("inspect", "coarse", surfaces.scratched / "000.png").code == 1
    # The same bank on a machine whose processor cannot compute comparable features.
    monkeypatch.setattr(runtime, "_capabilities", lambda: ["FP32"])
    refused = patchbank("inspect", "coarse", surfaces.scratched / "000.png")
    assert refused.complaint.startswith("precision bf16 needs AVX-512 BF16 or AMX")
    assert refused.out == ""


@pytest.mark.parametrize("score", ["max", "top1percent", "reweighted"])
def test_each_score_finds_the_scratches(patchbank: Run, surfaces: Surfaces, score: str) -> None:
    outcome = patchbank("fit", "brushed", surfaces.train, *SMALL, "--score", score, "--json")
    assert outcome.document["settings"]["image_score"] == score
    bad = patchbank("inspect", "brushed", surfaces.scratched, "--json")
    assert [one["verdict"] for one in bad.documents] == ["fail"] * 8
    two = sorted(surfaces.train.iterdir())[:2]
    few = patchbank("fit", "few", *two, *SMALL, "--score", score, "--force")
    assert few.code == 0, few.err


def test_a_crop_of_the_whole_image_is_none(patchbank: Run, surfaces: Surfaces) -> None:
    outcome = patchbank("fit", "brushed", surfaces.train, *SMALL, "--center-crop", "96")
    assert "cropped" not in outcome.out


def test_evaluate_measures_a_data_set(patchbank: Run, surfaces: Surfaces) -> None:
    outcome = patchbank("evaluate", surfaces.root, *SMALL, "--json")
    assert outcome.code == 0, outcome.err
    category, average = outcome.documents
    assert category["category"] == "brushed"
    assert average["category"] == "average"
    for figure in FIGURES:
        assert average[figure] == category[figure]
    assert category["image_auroc"] == 1.0
    assert category["recall"] == 1.0
    assert category["pixel_auroc"] > 0.9
    assert category["aupro"] > 0.5
    assert category["test_good"] == category["test_anomalous"] == 8
    # An evaluation stores nothing.
    assert patchbank("categories", "--json").documents == []


def test_evaluate_for_people(patchbank: Run, surfaces: Surfaces) -> None:
    outcome = patchbank("evaluate", surfaces.root, "--category", "brushed", *SMALL)
    assert outcome.code == 0, outcome.err
    header, row, average, *_ = outcome.out.splitlines()
    assert "image AUROC" in header
    assert "AUPRO" in header
    assert row.split()[0] == "brushed"
    assert average.split()[0] == "average"


def test_categories_show_and_remove(patchbank: Run, surfaces: Surfaces, learned: Outcome) -> None:
    (listed,) = patchbank("categories", "--json").documents
    assert listed["category"] == "brushed"
    assert listed["images"] == 24
    assert "brushed" in patchbank("categories").out
    shown = patchbank("show", "brushed", "--json").document
    assert shown["fail_above"] == pytest.approx(learned.document["fail_above"])
    assert [one["state"] for one in shown["history"]] == ["active"]
    assert "version 1" in patchbank("show", "brushed").out
    assert "--yes" in patchbank("remove", "brushed").complaint
    # The name of before is understood.
    assert "--yes" in patchbank("forget", "brushed").complaint
    assert len(patchbank("categories", "--json").documents) == 1
    assert patchbank("inspect", "brushed", surfaces.scratched / "000.png").code == 1
    out = patchbank("remove", "brushed", "--yes").out
    assert out == ("removed brushed: 1 bank, 24 images, 346 patches, 1 inspection, 0 defects\n")
    assert patchbank("categories", "--json").documents == []


def test_show_is_for_people(patchbank: Run, learned: Outcome) -> None:
    assert patchbank("index", "brushed", "--json").code == 0
    out = patchbank("show", "brushed").out
    lines = {line[:22].strip(): line[23:] for line in out.splitlines()}
    assert lines["provenance known"] == "yes"
    assert lines["covering radius"] == f"{learned.document['covering_radius']:.4g}"
    assert lines["center crop"] == "none"
    assert lines["image size"] == "96 pixels"
    assert lines["bank size"] == "346 patches"
    assert "None" not in out
    assert "True" not in out
    (index,) = [line for line in out.splitlines() if line.startswith("index ")]
    assert "images, cosine, ef_search 100" in index
    assert re.search(r"  fit by \S+: 24 images, 346 patches$", out.splitlines()[-1])
    document = patchbank("show", "brushed", "--json").document
    assert document["provenance_known"] is True
    assert document["history"][0]["cause"] == "fit"
    assert document["indexes"][0]["on"] == "images"
    patchbank("index", "brushed", "--remove")
    assert patchbank("show", "brushed", "--json").document["indexes"] == []


def test_a_new_fit_replaces_the_bank_and_keeps_its_history(
    patchbank: Run, surfaces: Surfaces, learned: Outcome
) -> None:
    again = patchbank("fit", "brushed", surfaces.train, *SMALL, "--coreset-ratio", "0.05", "--json")
    assert again.document["bank_version"] == 2
    shown = patchbank("show", "brushed", "--json").document
    assert [one["state"] for one in shown["history"]] == ["active", "retired"]
    found = patchbank("inspect", "brushed", surfaces.good / "000.png", "--json").document
    assert found["bank_version"] == 2


def test_doctor_finds_this_installation_healthy(patchbank: Run) -> None:
    outcome = patchbank("doctor", "--json")
    findings = {one["name"]: one for one in outcome.document["findings"]}
    assert outcome.code == 0, findings
    assert "PostgreSQL" in findings["database"]["text"]
    assert "efficientnet-lite0 present" in findings["weights"]["text"]
    assert "cores" in findings["processor"]["text"]
    assert "GB free" in findings["disk"]["text"]


def test_database_commands_leave_a_server_of_ones_own_alone(patchbank: Run) -> None:
    for command in ("status", "stop"):
        outcome = patchbank("database", command)
        assert outcome.code == 2
        assert "PATCHBANK_DATABASE_URL" in outcome.complaint
