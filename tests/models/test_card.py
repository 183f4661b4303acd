"""A card tells what it knows, one line a field."""

from __future__ import annotations

from cytotome.models.card import Card


def test_the_text_holds_the_filled_fields_in_order() -> None:
    card = Card(name="neurons", data=("Sartorius", "LIVECell"), scores={"mAP": 0.3141592, "AP50": 0.5})
    assert card.text().splitlines() == [
        "name      neurons",
        "data      Sartorius, LIVECell",
        "scores    mAP 0.3142, AP50 0.5",
    ]


def test_fields_of_later_versions_are_passed_over() -> None:
    assert Card.model_validate({"name": "a", "mood": "sunny"}) == Card(name="a")
