"""A card holds facts as data, renders them, hands them on, and understands the sentences of older files."""

from __future__ import annotations

import pytest

from cytotome.models.card import Card, TrainedOn, inherited


def card(licence: str = "", **held_out: tuple[int, ...]) -> Card:
    return Card(trained_on={name: TrainedOn(held_out=folds) for name, folds in held_out.items()}, licence=licence)


def seen(one: Card, dataset: str = "own") -> list[bool]:
    return [one.may_have_seen(dataset, fold) for fold in (0, 1, None)]


def test_the_text_holds_the_filled_fields_in_order() -> None:
    facts = {"Sartorius": TrainedOn(held_out=(0,)), "LIVECell": TrainedOn(), "both": TrainedOn(held_out=(1, 2))}
    made = Card(name="neurons", trained_on=facts, scores={"mAP": 0.3141592, "AP50": 0.5})
    assert made.text().splitlines() == [
        "name      neurons",
        "data      Sartorius (all but fold 0), LIVECell, both (all but folds 1, 2)",
        "scores    mAP 0.3142, AP50 0.5",
    ]


def test_a_model_has_seen_every_fold_that_is_not_held_out() -> None:
    assert seen(card(own=(0,))) == [False, True, True]
    assert seen(card(own=())) == [True, True, True]
    assert seen(card(other=())) == [False, False, False]


@pytest.mark.parametrize(
    ("own", "ancestor", "expected"),
    [
        (card(own=(0,)), card(), [False, True, True]),  # from scratch
        (card(own=(0,)), card(own=(0,)), [False, True, True]),  # from a model of the same fold
        (card(own=(0,)), card(own=(1,)), [True, True, True]),  # of another fold
        (card(own=(0,)), card(own=()), [True, True, True]),  # of all images
        (card(own=()), card(own=(0,)), [True, True, True]),
        (card(own=(0,)), card(other=()), [False, True, True]),  # pretrained on other data
        (card(other=()), card(own=(1,)), [True, False, True]),  # fine-tuned on other data
    ],
)
def test_what_an_ancestor_has_seen_is_seen(own: Card, ancestor: Card, expected: list[bool]) -> None:
    assert seen(inherited([own, ancestor])) == expected
    assert seen(inherited([ancestor, own])) == expected


def test_licences_are_united_and_named_once() -> None:
    cards = [card(), card("CC BY-NC 4.0; Apache 2.0"), card("BSD-3-Clause"), card("Apache 2.0")]
    assert inherited(cards).licence == "CC BY-NC 4.0; Apache 2.0; BSD-3-Clause"
    assert inherited([]) == Card()


@pytest.mark.parametrize(
    ("sentence", "held_out"),
    [
        ("trained on all but fold 2, scored on fold 2 (7 images); decode parameters fitted on 24 images", (2,)),
        ("validated on fold 2, trained on the others", (2,)),
        ("validated on fold 2, trained on the others; trained on all but fold 2", (2,)),
        ("validated on fold 2, trained on the others; trained on all images", ()),
        ("validated on fold 1, trained on the others; validated on fold 0, trained on the others", ()),
        ("trained on all images", ()),
        ("trained on stage1_train, scored on stage1_test", ()),
        ("its models are trained on all but fold 2", ()),
        ("fold 2", ()),
        ("", ()),
    ],
)
def test_the_sentence_of_an_older_file_is_judged_with_caution(sentence: str, held_out: tuple[int, ...]) -> None:
    old = Card.model_validate({"name": "a", "data": ["own", "other"], "folds": sentence})
    assert old.trained_on == {"own": TrainedOn(held_out=held_out), "other": TrainedOn()}


def test_remarks_of_an_older_file_are_kept() -> None:
    old = Card.model_validate({"data": ["own"], "folds": "trained on all but fold 2; fitted on 24 images"})
    assert old.notes == "fitted on 24 images"
    assert Card.model_validate(old.model_dump(mode="json")) == old


def test_fields_of_later_versions_are_ignored() -> None:
    assert Card.model_validate({"name": "a", "mood": "sunny"}) == Card(name="a")
