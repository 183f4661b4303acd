"""Faults that pydantic finds, in words."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cytotome.errors import LONGEST_INPUT, describe


class Inner(BaseModel):
    size: int = Field(ge=1)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    inner: Inner = Inner(size=1)

    @field_validator("name")
    @classmethod
    def _check(cls, name: str) -> str:
        if name == "x":
            raise ValueError("x is taken; choose another")
        return name


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, ["part.name: Field required"]),
        ({"name": "x", "nome": 1}, ["part.name: x is taken; choose another", "part.nome: there is no such field"]),
        (
            {"name": "a", "inner": {"size": 0}},
            ["part.inner.size: Input should be greater than or equal to 1, got 0"],
        ),
        (
            {"name": list(range(99))},
            [f"part.name: Input should be a valid string, got {str(list(range(99)))[:LONGEST_INPUT]}..."],
        ),
    ],
)
def test_each_fault_names_its_field_and_what_was_given(content: dict[str, object], expected: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(content)
    assert describe(caught.value, "part.") == expected
