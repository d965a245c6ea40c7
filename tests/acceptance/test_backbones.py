"""`patchbank backbone`, in this process and interrupted in another."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from patchbank.settings import get_settings
from patchbank.vision.backbones import weights_folder
from tests.fixtures.commands import Run, finish, start
from tests.fixtures.hub import Hub
from tests.fixtures.networks import write_network, write_weights
from tests.fixtures.surfaces import Surfaces


def test_list_says_what_is_known_and_what_is_here(patchbank: Run, backbones_folder: Path) -> None:
    documents = {one["backbone"]: one for one in patchbank("backbone", "list", "--json").documents}
    assert list(documents) == [
        *(f"efficientnet-lite{number}" for number in range(3)),
        "wide_resnet50_2", "resnet50", "resnet18", "dinov2_vits14", "dinov2_vitb14",
    ]  # fmt: skip
    wide = documents["wide_resnet50_2"]
    assert not wide["here"]
    assert wide["parameters"] == 68_883_240
    assert wide["from"] == "hub timm/wide_resnet50_2.racm_in1k"
    assert [
        (one["layer"], one["channels"], one["stride"]) for one in wide["layers"] if one["default"]
    ] == [("layer2", 512, 8), ("layer3", 1024, 16)]
    assert documents["efficientnet-lite0"]["here"]
    table = patchbank("backbone", "list").out
    assert "68.88 M" in table
    assert "layer2: 512/8" in table
    assert "blocks.0 to 11: 384/14" in table


def test_an_interrupted_download_goes_on_in_the_next_command(
    hub: Hub, backbones_folder: Path, tmp_path: Path
) -> None:
    hub.content = write_weights("resnet18", tmp_path / "model.safetensors").read_bytes()
    home = tmp_path / "home"
    hub.stall_after = 10_000_000
    process = start("backbone", "pull", "resnet18", home=home)
    assert hub.stalled.wait(60)
    process.send_signal(signal.SIGINT)
    interrupted = finish(process)
    assert interrupted.code == 130
    assert "22.4 MB" in interrupted.err.splitlines()[0]
    (part,) = (home / "backbones" / "resnet18").glob("*.part")
    there = part.stat().st_size
    assert there > 0
    hub.stall_after = None
    hub.go_on.set()
    done = finish(start("backbone", "pull", "resnet18", "--json", home=home))
    assert done.code == 0, done.err
    assert done.document["sha256"] == hub.sha256
    assert hub.starts == [0, there]
    assert Path(done.document["path"]).read_bytes() == hub.content


def test_without_a_hub_one_line_names_the_file_to_download(
    patchbank: Run, backbones_folder: Path, monkeypatch: pytest.MonkeyPatch, hub: Hub
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    outcome = patchbank("backbone", "pull", "dinov2_vits14")
    assert outcome.code == 2
    page = "https://huggingface.co/timm/vit_small_patch14_dinov2.lvd142m"
    assert outcome.complaint.endswith(
        f"or download model.safetensors from {page} and run: "
        "patchbank backbone add dinov2_vits14 --file model.safetensors"
    )


def test_without_the_extra_the_command_is_named(
    patchbank: Run, backbones_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What Python itself does where a package is not there.
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    outcome = patchbank("backbone", "pull", "resnet18")
    assert outcome.code == 2
    assert "pip install 'patchbank[hub]'" in outcome.complaint


def test_a_network_of_ones_own_learns_and_judges(
    patchbank: Run, backbones_folder: Path, surfaces: Surfaces, tmp_path: Path
) -> None:
    file = write_network(tmp_path / "model.onnx")
    added = patchbank(
        "backbone", "add", "mine", "--onnx", file, "--outputs", "a,b",
        "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25",
    )  # fmt: skip
    assert added.code == 0, added.err
    assert "layers: a: 4/2, b: 6/4" in added.out
    learned = patchbank(
        "fit", "brushed", surfaces.train, "--backbone", "mine", "--image-size", "96", "--json"
    )
    assert learned.code == 0, learned.err
    assert learned.document["dimension"] == 10
    judged = patchbank("inspect", "brushed", surfaces.scratched, "--json")
    assert judged.code == 1
    # Another network of that name does not pass for the one that made the bank.
    again = ("backbone", "add", "mine", "--onnx", file, "--outputs", "a,b")
    assert "add --replace" in patchbank(*again).complaint
    assert patchbank(*again, "--replace").code == 0
    refused = patchbank("inspect", "brushed", surfaces.scratched)
    assert refused.code == 2
    assert "was made with other weights of mine" in refused.complaint
    assert patchbank("backbone", "remove", "mine").code == 0
    assert patchbank("inspect", "brushed", surfaces.scratched).complaint == (
        "category 'brushed': bank version 1 was made with the network mine, which is not "
        "installed on this machine; add the same file again with: patchbank backbone add mine "
        "--onnx FILE "
        "--outputs NAMES"
    )


def test_the_list_shows_what_is_damaged_beside_the_others(
    patchbank: Run, backbones_folder: Path
) -> None:
    for name in ("mine", "My Net"):
        (backbones_folder / name).mkdir(parents=True)
        (backbones_folder / name / "backbone.json").write_text("{}")
    outcome = patchbank("backbone", "list")
    assert outcome.code == 0
    assert "68.88 M" in outcome.out
    assert "mine: " in outcome.err
    assert "the record is damaged" in outcome.err
    assert "My Net: " in outcome.err
    assert patchbank("backbone", "remove", "My Net").code == 0
    assert not (backbones_folder / "My Net").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "use either --file or --onnx"),
        (("--file", "a", "--onnx", "b"), "use either --file or --onnx"),
        (
            ("--file", "a", "--mean", "1,2,3"),
            "--outputs, --mean and --std can only be used with --onnx",
        ),
        (("--onnx", "b"), "--onnx needs --outputs"),
        (("--onnx", "b", "--outputs", "x", "--std", "1,2"), "std '1,2': give three numbers"),
        (("--onnx", "absent", "--outputs", "x"), "absent: no such file"),
        (("--file", "absent"), "absent: no such file"),
    ],
)
def test_wrong_arguments_get_one_line(
    patchbank: Run, backbones_folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    name = "resnet18" if "--file" in arguments else "mine"
    outcome = patchbank("backbone", "add", name, *arguments)
    assert outcome.code == 2
    assert message in outcome.complaint


def test_dinov2_names_the_sizes_it_takes(patchbank: Run, surfaces: Surfaces) -> None:
    outcome = patchbank(
        "fit", "brushed", surfaces.train, "--backbone", "dinov2_vits14", "--image-size", "256"
    )
    assert outcome.code == 2
    assert outcome.complaint == (
        "dinov2_vits14 needs an image size or a tile that is a multiple of 14 pixels, not 256; "
        "give 252 or 266"
    )


def test_backbones_lie_in_the_home_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBANK_HOME", "/somewhere")
    get_settings.cache_clear()
    assert weights_folder.folder() == Path("/somewhere/backbones")
    monkeypatch.setenv("PATCHBANK_BACKBONES", "~/shared")
    get_settings.cache_clear()
    assert weights_folder.folder() == Path.home() / "shared"
    get_settings.cache_clear()
