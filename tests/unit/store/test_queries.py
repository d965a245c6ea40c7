from __future__ import annotations

from pathlib import Path

import pytest

from patchbank.store import queries

SUBJECTS = sorted(path.stem for path in Path(queries.__file__).parent.glob("*.sql"))


def test_there_are_subjects() -> None:
    assert {"banks", "categories", "database", "images", "inspections"} <= set(SUBJECTS)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_statement_has_a_name_and_a_body_and_is_used(subject: str) -> None:
    sources = "".join(path.read_text() for path in (Path(queries.__file__).parents[1]).glob("*.py"))
    statements = queries.load(subject)
    assert statements
    for name, body in statements.items():
        assert body
        used = f'"{name}"' in sources or (name.startswith("remove_") and subject == "categories")
        assert used, f"{subject}.sql: {name} is used nowhere"


def test_what_stands_before_the_first_heading_is_no_statement() -> None:
    assert not any(b"what is judged" in body for body in queries.load("categories").values())
    assert queries.load("categories")["find"].startswith(b"select category_id")
