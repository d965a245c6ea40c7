"""The messages of errors that are raised without one."""

from __future__ import annotations

import pytest

from patchbank import errors


@pytest.mark.parametrize("name", [name for name in vars(errors) if name.endswith("Error")])
def test_a_message_has_no_full_stop_at_its_end(name: str) -> None:
    message = str(getattr(errors, name)())
    assert message
    assert not message.endswith(".")
