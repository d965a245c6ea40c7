"""The commands about what is stored: search by name, defects, indexes, psql."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from patchbank.store.embedded.server import EmbeddedServer
from tests.fixtures.commands import Outcome, Run, finish, start
from tests.fixtures.surfaces import Surfaces


@pytest.fixture
def name(learned: Outcome, surfaces: Surfaces) -> str:
    """The name of an image of the category `brushed`, which is learned."""
    return str(surfaces.train / "012.png")


def test_search_by_name(patchbank: Run, name: str) -> None:
    outcome = patchbank("search", "brushed", "--name", name, "--threshold", "-0.9")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "Good image: the 10 most similar references"
    assert lines[1].startswith("  24 of 24 references reach -0.9 with another reference, auto is ")
    assert lines[2].split() == ["1.0000", name, "(itself)"]
    assert len(lines) == 12
    outcome = patchbank("search", "brushed", "--name", name, "--top", "1")
    assert outcome.out.splitlines()[0] == "Good image: the most similar reference"
    document = patchbank("search", "brushed", "--name", name, "--metric", "l2", "--json").document
    assert (document["metric"], document["method"]) == ("l2", "exact scan")
    distances = [one["distance"] for one in document["similar"]]
    assert distances == sorted(distances)
    assert distances[0] == 0


def test_search_says_anomaly(patchbank: Run, name: str, surfaces: Surfaces) -> None:
    image = surfaces.scratched / "000.png"
    outcome = patchbank("search", "brushed", image, "--threshold", "0.9")
    assert outcome.code == 1
    assert outcome.out.splitlines()[0] == "Anomalous image: no stored reference reaches 0.9"
    outcome = patchbank("search", "brushed", image, "--threshold", "0.9", "--json")
    assert outcome.code == 1
    document = outcome.document
    assert (document["normal"], document["threshold"]) == (False, 0.9)
    references = document["references"]
    assert (references["count"], references["reaching"]) == (24, 0)
    assert patchbank("search", "brushed", image, "--threshold", "none", "--json").code == 0
    assert (
        "such as 0.9, auto or none"
        in patchbank("search", "brushed", image, "--threshold", "high").complaint
    )


def test_search_has_a_calibrated_rule_by_default(
    patchbank: Run, name: str, surfaces: Surfaces
) -> None:
    outcome = patchbank("search", "brushed", surfaces.good / "000.png", "--json")
    assert outcome.code == 0
    document = outcome.document
    assert document["normal"] is True
    assert document["threshold"] == document["references"]["calibrated_threshold"]
    raw = patchbank("search", "brushed", surfaces.good / "000.png", "--raw", "--json").document
    assert raw["raw"] is True
    assert raw["similar"][0]["similarity"] > document["similar"][0]["similarity"]
    stored = patchbank("search", "brushed", surfaces.train / "012.png")
    assert "calibrated for at most 4 % false alarms" in stored.out
    assert stored.out.count("(itself)") == 1


def test_a_name_that_is_not_stored(patchbank: Run, name: str) -> None:
    outcome = patchbank("search", "brushed", "--name", "012.png")
    assert outcome.code == 2
    assert repr(name) in outcome.complaint
    outcome = patchbank("search", "brushed", "--name", f"{name}#r99c99")
    assert "of the 144 patches of this image; the nearest ones are #r" in outcome.complaint
    assert "give an image" in patchbank("search", "brushed").complaint


def test_search_uses_an_index_and_says_so(patchbank: Run, name: str) -> None:
    document = patchbank("index", "brushed", "--on", "patches", "--json").document
    assert document["recall_at_10"] >= 0.95
    assert document["rows"] == 346
    stored = patchbank("search", "brushed", "--name", f"{name}#r99c99").complaint
    patch = name + stored.rsplit(" ", 3)[1].rstrip(",")
    found = patchbank("search", "brushed", "--name", patch)
    assert found.out.split()[:2] == ["1.0000", patch]
    assert "found by HNSW index of vector" in found.err
    assert f"recall {document['recall_at_10']:.4f} when built" in found.err
    scanned = patchbank("search", "brushed", "--name", patch, "--exact")
    assert (scanned.out, scanned.err) == (found.out, "")
    text = patchbank("index", "brushed", "--type", "halfvec", "--ef-search", "200").out
    assert "24 images as halfvec of 608 dimensions" in text
    assert "recall 1.0000 of the ten nearest" in text
    dropped = patchbank("index", "brushed", "--remove", "--json").document["removed"]
    assert len(dropped) == 2
    assert "removed: nothing" in patchbank("index", "brushed", "--drop").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "b\udcffd", "IMAGE"),
        ("search", "b\udcffd", "IMAGE"),
        ("show", "b\udcffd"),
        ("remove", "b\udcffd", "--yes"),
        ("fit", "b\udcffd", "IMAGE"),
        ("export", "b\udcffd", "FILE"),
        ("index", "b\udcffd"),
        ("defects", "list", "b\udcffd"),
        ("defects", "remove", "brushed", "b\udcffd"),
        ("defects", "add", "brushed", "IMAGE", "--label", "b\udcffd"),
        ("search", "brushed", "--name", "b\udcffd.png"),
        ("search", "brushed", "--name", "b\0d.png"),
        ("search", "b\0d", "--name", "good.png"),
    ],
)
def test_text_that_cannot_be_stored(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path, name: str, arguments: tuple[str, ...]
) -> None:
    image = str(sorted(surfaces.train.iterdir())[0])
    places = {"IMAGE": image, "FILE": str(tmp_path / "x.bank")}
    outcome = patchbank(*(places.get(one, one) for one in arguments))
    assert outcome.code == 2
    assert outcome.complaint.isprintable()
    assert not list(tmp_path.iterdir())


def test_defects(patchbank: Run, name: str, surfaces: Surfaces, tmp_path: Path) -> None:
    assert "no defects yet" in patchbank("defects", "list", "brushed").err
    scratch = surfaces.scratched / "000.png"
    assert patchbank("defects", "add", "brushed", scratch, "--label", "scratch").code == 0
    synthetic = patchbank("defects", "add", "brushed", "--synthetic", "5", "--json").document
    assert synthetic["synthetic"] is True
    assert synthetic["added"] == [f"synthetic/000{number}" for number in range(1, 6)]
    listed = patchbank("defects", "list", "brushed").out.splitlines()
    assert listed[0] == f"{scratch}  (scratch)"
    assert listed[1] == "synthetic/0001  (synthetic cut-paste, synthetic)"
    found = patchbank("search", "brushed", scratch, "--among", "defects").out.splitlines()
    assert found[0].split() == ["1.0000", str(scratch), "(scratch)"]
    assert all(line.endswith(", synthetic)") for line in found[1:])
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    outcome = patchbank("defects", "add", "brushed", broken)
    assert outcome.code == 2
    assert str(broken) in outcome.complaint
    assert "give either images" in patchbank("defects", "add", "brushed").complaint
    assert "0005" in patchbank("defects", "remove", "brushed", "--synthetic").out
    assert len(patchbank("defects", "list", "brushed", "--json").documents) == 1


def test_inspect_in_the_database(patchbank: Run, name: str, surfaces: Surfaces) -> None:
    here, there = (
        patchbank("inspect", "brushed", surfaces.scratched, "--json", *option)
        for option in ((), ("--in-database",))
    )
    assert (here.code, there.code) == (1, 1)
    for one, other in zip(here.documents, there.documents, strict=True):
        assert other["verdict"] == one["verdict"]
        assert other["score"] == pytest.approx(one["score"], rel=1e-5)


def _psql(*arguments: str, home: Path, url: str | None = None) -> Outcome:
    return finish(start("database", "psql", *arguments, home=home, url=url))


def test_a_prompt_at_the_embedded_server(embedded_server: EmbeddedServer) -> None:
    # Other tests share this server, and one may have left a bank.
    count = "select count(*) from banks where category = 'never learned'"
    outcome = _psql("-At", "-c", count, home=embedded_server.home)
    assert (outcome.code, outcome.out, outcome.err) == (0, "0\n", "")
    operators = _psql("-Atc", "select '[1,2]'::vector <-> '[1,4]'", home=embedded_server.home)
    assert operators.out == "2\n"
    assert _psql("-c", "select nonsense", home=embedded_server.home).code == 1
    url = finish(start("database", "url", home=embedded_server.home)).out.strip()
    done = subprocess.run(
        [sys.executable, "-c", "import sys, psycopg; psycopg.connect(sys.argv[1]).close()", url],
        check=False,
    )
    assert done.returncode == 0


def test_a_prompt_at_a_server_of_ones_own(own_database_url: str, tmp_path: Path) -> None:
    outcome = _psql("-Atc", "select count(*) from images", home=tmp_path, url=own_database_url)
    assert (outcome.code, outcome.out) == (0, "0\n")
    outcome = finish(start("database", "url", "--json", home=tmp_path, url=own_database_url))
    assert "password" not in outcome.out
    assert json.loads(outcome.out)["url"].startswith("postgresql://")


def test_the_status_of_a_server_that_was_never_started_is_for_people(tmp_path: Path) -> None:
    out = finish(start("database", "status", home=tmp_path)).out
    lines = {line[:14].strip(): line[15:] for line in out.splitlines()}
    assert (lines["running"], lines["process"], lines["size"]) == ("no", "none", "0.0 MB")
    assert lines["stops after"] == "10 min without a client"
