"""Which images belong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbank.datasets.grouping import groups_by
from patchbank.errors import ParameterError

NAMES = ["in/lot1/part07_a.png", "in/lot1/part07_b.png", "in/lot2/part08_a.png", "in/lot2/x.png"]


def split(rule: str, names: list[str] = NAMES) -> list[list[int]]:
    """Return the images of each group, and each image without one for itself."""
    labels, _ = groups_by(rule, names)
    groups: dict[object, list[int]] = {}
    for slot, name in enumerate(names):
        groups.setdefault(labels.get(name, slot), []).append(slot)
    return list(groups.values())


def test_rules() -> None:
    assert split(r"part(\d+)") == [[0, 1], [2], [3]]
    assert split("folder") == [[0, 1], [2, 3]]
    assert split("folder:2") == [[0, 1, 2, 3]]
    _, remarks = groups_by(r"part(\d+)", NAMES)
    assert len(remarks) == 1
    assert remarks[0].startswith("1 image has no group by --group-by")
    assert "counts as independent: in/lot2/x.png" in remarks[0]
    assert groups_by("folder", NAMES)[1] == ()
    # Folders of the same name in different folders are different ones.
    assert split("folder", ["a/1/x.png", "b/1/x.png"]) == [[0], [1]]


@pytest.mark.parametrize(
    "text", ["path,part\n1.png,A\n2.png,B\n3.png,A\n", "Path;PART\n1.png;A\n2.png;B\n3.png;A\n"]
)
def test_a_column_of_a_table(tmp_path: Path, text: str) -> None:
    table = tmp_path / "parts.csv"
    table.write_text(text)
    names = [str(tmp_path / f"{number}.png") for number in (1, 2, 3, 4)]
    assert split(f"{table}:part", names) == [[0, 2], [1], [3]]
    lines = tmp_path / "parts.jsonl"
    lines.write_text('{"path": "1.png", "part": 7}\n{"path": "2.png", "part": 7}\n')
    assert split(f"{lines}:part", names) == [[0, 1], [2], [3]]
    with pytest.raises(ParameterError, match="has no column lot; it has path, part"):
        groups_by(f"{table}:lot", names)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("part", "a pattern with one group in parentheses"),
        ("part(", "a pattern with one group in parentheses"),
        (r"(\d)(\d)", "a pattern with one group in parentheses"),
        (r"lot9(\d)", "gives none of the 4 images a group"),
        ("folder:9", "gives none of the 4 images a group"),
    ],
)
def test_rules_that_are_none(rule: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        groups_by(rule, NAMES)
    assert "\n" not in str(caught.value)
