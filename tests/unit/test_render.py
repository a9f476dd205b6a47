"""From an item or a search to the text and the category that everything else speaks of."""

import pytest

from stream import render
from stream.events import BehaviourEvent, Item
from stream.render import (
    MAX_TEXT_CHARS,
    NOTHING,
    Rendered,
    appearance,
    category_hash,
    normalise,
    render_event,
    render_item,
    render_names,
    text_and_image,
    text_hash,
)


def made(**fields: str) -> Item:
    return Item.model_validate({"item_id": "p1", **fields})


def event(**fields: object) -> BehaviourEvent:
    return BehaviourEvent.model_validate({"event_type": "click", "user_id": "u1", **fields})


@pytest.mark.parametrize(
    ("text", "normal"),
    [("  Green\t\nTEA ", "green tea"), ("tea", "tea"), (" \n", ""), ("Grün\u00a0Tee", "grün tee")],
)
def test_texts_are_lower_case_with_single_spaces(text: str, normal: str) -> None:
    assert normalise(text) == normal


def test_a_text_goes_from_the_name_to_the_most_general_category() -> None:
    item = made(item_name="Earl Grey", item_brand="Leaf", item_category="Drinks", item_category2="Tea")

    assert render_item(item, 2).text == "earl grey, leaf, tea, drinks"


def test_a_word_is_said_once() -> None:
    assert render_names("Tea", "TEA ", ["Drinks", "tea"]) == "tea, drinks"


def test_missing_and_blank_parts_are_left_out() -> None:
    assert render_names(None, " ", [None, "", "Drinks"]) == "drinks"


def test_a_text_is_cut_before_it_is_hashed() -> None:
    rendered = render_item(made(item_name="x" * 512, item_brand="y" * 512), 2)

    assert (rendered.text, rendered.text_hash) == ("x" * MAX_TEXT_CHARS, text_hash("x" * MAX_TEXT_CHARS))


def test_an_item_with_an_image_is_another_appearance_of_the_same_text() -> None:
    plain, red, blue = (
        render_item(made(item_name="Cup", item_category="Home", **image), 2)
        for image in ({}, {"image_id": "cup-red"}, {"image_id": "cup-blue"})
    )

    assert (plain.text, plain.text_hash) == ("cup, home", text_hash("cup, home"))
    assert [text_and_image(one.text) for one in (plain, red, blue)] == [
        ("cup, home", ""),
        ("cup, home", "cup-red"),
        ("cup, home", "cup-blue"),
    ]
    assert len({plain.text_hash, red.text_hash, blue.text_hash}) == 3
    assert plain.category_hash == red.category_hash == blue.category_hash


def test_an_image_without_a_text_says_nothing() -> None:
    assert render_item(made(image_id="cup-red"), 2) == Rendered("", NOTHING, NOTHING)


def test_no_text_is_mistaken_for_one_with_an_image() -> None:
    rendered = render_item(made(item_name="cup\x1fred"), 2)

    assert text_and_image(rendered.text) == ("cup red", "")
    assert text_and_image(appearance("cup", "a\x1fb")) == ("cup", "a\x1fb")


@pytest.mark.parametrize(
    ("level", "interest"), [(1, "Food"), (2, "Dairy"), (3, "Cheese"), (4, "Cheese"), (5, "Brie")]
)
def test_the_interest_is_the_category_of_the_level_or_the_deepest_above_it(level: int, interest: str) -> None:
    item = made(
        item_category="Food", item_category2="Dairy", item_category3="Cheese", item_category4=" ",
        item_category5="Brie",
    )  # fmt: skip

    assert render_item(item, level).category_hash == category_hash(interest)


def test_equal_names_are_one_interest_however_they_are_written() -> None:
    assert category_hash(" Soft  CHEESE ") == category_hash("soft cheese")


def test_a_category_and_a_text_of_the_same_words_have_different_keys() -> None:
    assert category_hash("tea") != text_hash("tea")


def test_an_item_that_says_nothing_is_nothing() -> None:
    assert render_item(made(), 2) == Rendered("", NOTHING, NOTHING)


def test_an_item_with_a_name_only_has_a_text_and_no_interest() -> None:
    assert render_item(made(item_name="Tea"), 2) == Rendered("tea", text_hash("tea"), NOTHING)


def test_the_same_item_read_at_another_level_is_another_interest() -> None:
    item = made(item_category="Drinks", item_category2="Tea")

    assert [render_item(item, level).category_hash for level in (1, 2, 1)] == [
        category_hash("drinks"), category_hash("tea"), category_hash("drinks"),
    ]  # fmt: skip


def test_an_event_shows_interest_in_each_of_its_items() -> None:
    rendered = render_event(event(items=[{"item_id": "1", "item_name": "Tea"}, {"item_id": "2"}]), 2)

    assert [entry.text for entry in rendered] == ["tea", ""]


def test_a_search_shows_interest_in_its_words() -> None:
    searched = render_event(event(event_type="search", search_term=" Green  TEA"), 2)

    assert searched == [Rendered("green tea", text_hash("green tea"), NOTHING)]


@pytest.mark.parametrize(
    "fields",
    [
        {"event_type": "search"},
        {"event_type": "search", "search_term": "  "},
        {"event_type": "click", "search_term": "tea"},
    ],
)
def test_without_items_and_words_there_is_nothing(fields: dict[str, str]) -> None:
    assert render_event(event(**fields), 2) == []


def test_a_search_that_found_items_shows_interest_in_them() -> None:
    found = event(event_type="search", search_term="tea", items=[{"item_id": "1", "item_name": "Brie"}])

    assert [entry.text for entry in render_event(found, 2)] == ["brie"]


def test_a_full_memo_is_emptied_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_MEMO_SIZE", 2)
    monkeypatch.setattr(render, "_memo", {})

    texts = [render_item(made(item_name=name), 2).text for name in ("a", "b", "c", "a")]

    assert texts == ["a", "b", "c", "a"]
    assert len(render._memo) == 2
