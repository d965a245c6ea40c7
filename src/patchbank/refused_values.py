"""Plain words for what pydantic refuses: the value of an option or of a setting."""

from __future__ import annotations

from pydantic import ValidationError

# By pydantic's type of error; the names in braces are of its context.
_ALLOWED = {
    "bool_parsing": "give true or false",
    "finite_number": "give a finite number",
    "float_parsing": "give a number",
    "greater_than": "give a number above {gt:g}",
    "greater_than_equal": "give {ge:g} or more",
    "int_from_float": "give a whole number",
    "int_parsing": "give a whole number",
    "int_parsing_size": "give a smaller number",
    "less_than": "give a number below {lt:g}",
    "less_than_equal": "give {le:g} or less",
    "literal_error": "give {expected}",
}


def refused_value(error: ValidationError) -> tuple[object, str | None]:
    """Return the first refused value and what is allowed; None where pydantic's text is needed."""
    first = error.errors()[0]
    allowed = _ALLOWED.get(first["type"])
    return first["input"], allowed and allowed.format(**first.get("ctx", {}))
