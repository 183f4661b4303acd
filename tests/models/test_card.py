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


def test_a_model_has_not_seen_the_fold_that_its_card_names_alone() -> None:
    card = Card(data=("own",), folds="validated on fold 2, trained on the others")
    assert [card.may_have_seen("own", fold) for fold in (2, 1, None)] == [False, True, True]
    assert not card.may_have_seen("other", None)
    assert Card(data=("own",), folds="trained on all images").may_have_seen("own", 0)


def test_fields_of_later_versions_are_passed_over() -> None:
    assert Card.model_validate({"name": "a", "mood": "sunny"}) == Card(name="a")
