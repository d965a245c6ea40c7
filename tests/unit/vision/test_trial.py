"""Networks that would never end or take all memory are given up in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from patchbank.errors import PatchbankError
from patchbank.inspection.keeping.backbones import add_network
from patchbank.settings import get_settings

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def endless(file: Path) -> Path:
    """Write a network whose feature map is added to itself 2^40 times."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["go_on"]),
            helper.make_node("Add", ["before", "before"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, ()),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, (1, 3, 224, 224)),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, (1, 3, 224, 224)),
        ],
    )
    return write(
        file,
        [helper.make_node("Loop", ["times", "true", "pixels"], ["looped"], body=body)],
        "looped",
        numpy_helper.from_array(np.array(1 << 40), "times"),
        numpy_helper.from_array(np.array(True), "true"),
    )


def enormous(file: Path) -> Path:
    """Write a network that asks for 40 GB."""
    nodes = [
        helper.make_node("Tile", ["pixels", "repeats"], ["tiled"]),
        helper.make_node("Relu", ["tiled"], ["positive"]),
        helper.make_node("ReduceMean", ["positive"], ["all"], axes=[0], keepdims=1),
    ]
    repeats = numpy_helper.from_array(np.array([65_536, 1, 1, 1]), "repeats")
    return write(file, nodes, "all", repeats)


def write(
    file: Path, nodes: list[onnx.NodeProto], output: str, *constants: onnx.TensorProto
) -> Path:
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, (1, 3, 224, 224))
    last = helper.make_tensor_value_info(output, TensorProto.FLOAT, (1, 3, 224, 224))
    graph = helper.make_graph(nodes, "hostile", [pixels], [last], list(constants))
    opset = [helper.make_opsetid("", 17)]
    onnx.save_model(helper.make_model(graph, opset_imports=opset, ir_version=8), file)
    return file


def setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    get_settings.cache_clear()


def children() -> list[psutil.Process]:
    return list(psutil.Process().children(recursive=True))


def test_a_network_that_never_ends(
    backbones_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, "PATCHBANK_TRIAL_SECONDS", "4")
    file = endless(tmp_path / "loop.onnx")
    before, start = children(), time.monotonic()
    with pytest.raises(PatchbankError) as raised:
        add_network("mine", file, ["looped"], ZERO, ONE)
    assert time.monotonic() - start < 20
    assert str(raised.value) == (
        f"{file}: trying it did not finish within 4 seconds; if it needs more time, raise "
        "PATCHBANK_TRIAL_SECONDS"
    )
    assert children() == before
    assert not backbones_folder.exists()


def test_a_network_that_takes_all_memory(
    backbones_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, "PATCHBANK_MEMORY_LIMIT", "2GB")
    file = enormous(tmp_path / "large.onnx")
    with pytest.raises(PatchbankError) as raised:
        add_network("mine", file, ["all"], ZERO, ONE)
    said = str(raised.value)
    assert said.startswith(f"{file}: ")
    assert "\n" not in said
    assert "takes more than 2.0 GB of memory" in said
    assert not backbones_folder.exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 130), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_the_trial_ends_when_the_command_is_ended(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    file = endless(tmp_path / "loop.onnx")
    command = "backbone", "add", "mine", "--onnx", str(file), "--outputs", "looped"
    process = subprocess.Popen(
        [sys.executable, "-m", "patchbank", *command],
        env={**os.environ, "PATCHBANK_BACKBONES": str(tmp_path / "backbones")},
        stderr=subprocess.PIPE,
        text=True,
    )
    ours = psutil.Process(process.pid)
    deadline = time.monotonic() + 60
    while not (started := ours.children(recursive=True)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # It has begun to work.
    while started[0].cpu_times().user < 0.5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in said
    gone, alive = psutil.wait_procs(started, timeout=20)
    assert gone
    assert not alive
