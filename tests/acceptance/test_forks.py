"""Processes forked by a program that has used everything, as multiprocessing and servers do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.surfaces import Surfaces

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

#: A program that has learned and judged, and says so of what its children do.
PARENT = """
import json, multiprocessing, os, sys, threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import numpy as np
import patchbank

train, picture = sys.argv[1:]
url = os.environ["PATCHBANK_DATABASE_URL"]
bank = patchbank.open("brushed", database_url=url)
bank.fit(train, image_size=64)
expected = bank.inspect(picture).score

def complaint(use):
    try:
        use()
    except patchbank.PatchbankError as error:
        return f"{type(error).__name__}: {error}"
    return "none"

def score(_=None):
    with patchbank.open("brushed", database_url=url) as own:
        first = own.inspect(picture).score
        (second,) = (one.score for one in own.inspect_many([picture]))
        assert first == second
        return first

def forked(work):
    '''Return what `work` returns in a forked child, which ends as a program does.'''
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, json.dumps(work()).encode())
        sys.exit(0)
    os.close(write)
    with open(read) as pipe:
        said = json.loads(pipe.read() or "null")
    return said, os.waitpid(child, 0)[1]

answers = {"expected": expected}
"""


def run(program: str, surfaces: Surfaces, home: Path, url: str) -> dict[str, Any]:
    """Run a program after `PARENT` and return its answers; a child that hangs fails the test."""
    environment = {**os.environ, "PATCHBANK_HOME": str(home), "PATCHBANK_DATABASE_URL": url}
    # As users start it: NumPy's threads are threads too.
    environment.pop("OPENBLAS_NUM_THREADS", None)
    picture = next(iter(sorted(surfaces.scratched.glob("*.png"))))
    code = PARENT + textwrap.dedent(program) + "\nprint(json.dumps(answers))\n"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(surfaces.train), str(picture)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    answers: dict[str, Any] = json.loads(ran.stdout)
    return answers


def test_what_was_opened_before_a_fork_raises_at_once(
    surfaces: Surfaces, graphs_home: Path, database_url: str
) -> None:
    answers = run(
        """
        from patchbank.inspection.judging.inspect import Inspector
        from patchbank.inspection.workspace import Workspace

        workspace = Workspace(database_url=url)
        database = workspace.database
        inspector = Inspector(workspace, "brushed")
        inspector.inspect(picture)
        extractor = next(iter(workspace._extractors.values()))
        uses = {
            "inspect": lambda: bank.inspect(picture),
            "inspect_many": lambda: list(bank.inspect_many([picture])),
            "fit": lambda: bank.fit(train, image_size=64),
            "search": lambda: bank.search(picture),
            "fitted": lambda: bank.fitted,
            "inspector": lambda: inspector.inspect(picture),
            "workspace": lambda: workspace.database,
            "database": lambda: database.banks.active("brushed"),
            "changes": lambda: next(database.changes(timeout=1)),
            "extractor": lambda: extractor.extract_one(picture),
            "extractor, many": lambda: list(extractor.extract_many([picture])),
        }

        def work():
            said = {name: complaint(use) for name, use in uses.items()}
            bank.close()
            database.close()
            extractor.close()
            workspace.close()
            return said

        answers["said"], answers["status"] = forked(work)
        # The child closed what it could: the parent's is as it was.
        answers["after"] = [bank.inspect(picture).score, inspector.inspect(picture).score]
        bank.close()
        """,
        surfaces,
        graphs_home,
        database_url,
    )
    for name, said in answers["said"].items():
        assert said.startswith("ForkedError: the "), (name, said)
        assert "post_fork" in said, name
        assert "get_context('spawn')" in said, name
    assert answers["status"] == 0
    assert answers["after"] == [answers["expected"]] * 2


def test_what_is_opened_in_the_child_works(
    surfaces: Surfaces, graphs_home: Path, database_url: str
) -> None:
    answers = run(
        """
        answers["fork"] = forked(score)
        # A child of a child, and one forked by another thread than the main one.
        answers["twice"] = forked(lambda: [score(), forked(score)])
        fork = multiprocessing.get_context("fork")
        with fork.Pool(2) as pool:
            answers["pool"] = pool.map(score, range(2))
        with ProcessPoolExecutor(2, mp_context=fork) as pool:
            answers["executor"] = list(pool.map(score, range(2)))
        answers["after"] = bank.inspect(picture).score
        bank.fit(train, image_size=64)
        answers["fitted"] = bank.inspect(picture).score
        """,
        surfaces,
        graphs_home,
        database_url,
    )
    expected = answers["expected"]
    assert answers["fork"] == [expected, 0]
    assert answers["twice"] == [[expected, [expected, 0]], 0]
    assert answers["pool"] == answers["executor"] == [expected] * 2
    assert answers["after"] == answers["fitted"] == expected


def test_a_fork_while_others_work_disturbs_nobody(
    surfaces: Surfaces, graphs_home: Path, database_url: str
) -> None:
    answers = run(
        """
        ended = threading.Event()
        scores = set()

        def judge():
            while not ended.is_set():
                scores.add(bank.inspect(picture).score)
                scores.update(one.score for one in bank.inspect_many([picture] * 3))

        threads = [threading.Thread(target=judge) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            answers["children"] = [forked(score) for _ in range(4)]
        finally:
            ended.set()
        for thread in threads:
            thread.join()
        answers["scores"] = sorted(scores)
        """,
        surfaces,
        graphs_home,
        database_url,
    )
    expected = answers["expected"]
    assert answers["children"] == [[expected, 0]] * 4
    assert answers["scores"] == [expected]
