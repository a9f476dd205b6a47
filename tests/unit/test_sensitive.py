"""What is sensitive, by the list that comes with the service, and that nothing of it is folded."""

from pathlib import Path

import numpy as np
import pytest

from stream.ads.decision import CandidateReason
from stream.ads.snapshot import InterestRows
from stream.errors import ConfigurationError
from stream.events import TEXTS_TOPIC, Change, Item, Outcome
from stream.privacy import PrivacyRules
from stream.render import category_hash
from stream.sensitive import DEFAULT_LIST, NOTHING_SENSITIVE, read_list, withhold
from stream.setting_sections import SensitiveSettings
from tests.builders import TEA, decoded, event_value, item
from tests.unit.ads_builders import INTERESTS, campaign, cheese, decided, reasons, wine
from tests.unit.test_bad_inputs import folder, record

NAMES = SensitiveSettings().names()
LIST = '[always.health]\nwords = ["cough*", "cold  and FLU"]\niab = ["IAB7"]\n[optional.alcohol]\nwords = ["wine"]\n'


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("LAXATIVES", "health"),
        ("COLD AND FLU", "health"),
        ("Sinus and  Allergy", "health"),
        ("pregnancy test kits", "reproduction"),
        ("FAMILY PLANNING", "reproduction"),
        ("kosher foods", "religion"),
        ("voting guide: election 2026", "politics"),
        ("gay novels", "sexuality"),
        ("ETHNIC PERSONAL CARE", "ethnicity"),
        ("IMPORTED WINE", "alcohol"),
        ("CIGARETTES", "tobacco"),
    ],
)
def test_the_list_that_comes_with_the_service_knows_a_name(name: str, topic: str) -> None:
    assert NAMES.topic_of((name,)) == topic


@pytest.mark.parametrize(
    "name", ["cheese", "fluid milk products", "essex potatoes", "gingerbread", "kale", "baby foods"]
)
def test_harmless_names_stay_harmless(name: str) -> None:
    assert NAMES.topic_of((name,)) is None


def test_a_word_does_not_reach_from_one_name_into_the_next() -> None:
    assert NAMES.topic_of(("cold and", "flu")) is None


@pytest.mark.parametrize("field", ["item_name", "item_brand", "item_category", "item_category5"])
def test_a_product_is_sensitive_by_any_of_its_names(field: str) -> None:
    product = Item.model_validate({"item_id": "1", "item_name": "x" * 512, field: "Cough drops"})

    assert NAMES.topic_of_item(product) == "health"
    assert NAMES.topic_of_item(product) == "health"  # from memory


def test_an_iab_category_stands_for_those_below_it() -> None:
    assert NAMES.topic_of_categories(["IAB3", "IAB7-39"]) == "health"
    assert NAMES.topic_of_categories(["IAB8-5"]) == "alcohol"
    assert NAMES.topic_of_categories(["IAB8-9"]) is None


def test_optional_topics_hold_if_they_are_named() -> None:
    without, with_alcohol = read_list(LIST, [], "my.toml"), read_list(LIST, ["alcohol"], "my.toml")

    assert (without.topic_of(("wine",)), with_alcohol.topic_of(("wine",))) == (None, "alcohol")
    assert without.topic_of(("coughing", "Cold and flu")) == "health"


CURE = "write [always.TOPIC] and [optional.TOPIC] tables with words and iab, as the list that comes with the service"
NO_TOML = "Expected '=' after a key in a key/value pair (at end of document)"


@pytest.mark.parametrize(
    ("content", "optional", "message"),
    [
        ("words", [], f"my.toml is no list of sensitive interests ({NO_TOML}): {CURE}"),
        ("[optional]", [], f"my.toml is no list of sensitive interests (always: Field required): {CURE}"),
        (
            LIST,
            ["wine"],
            "INTERESTFLOW_SENSITIVE__OPTIONAL names wine; my.toml has alcohol: name one of these or add a table",
        ),
        (
            "[always]",
            ["x"],
            "INTERESTFLOW_SENSITIVE__OPTIONAL names x; my.toml has no optional topics: name one of these or add a table",
        ),
        (
            '[always.a]\nwords = [" *"]',
            [],
            "' *' in a list of sensitive interests matches everything: write a word",
        ),
    ],
)
def test_a_list_that_can_not_be_used_is_refused_by_name(
    content: str, optional: list[str], message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_list(content, optional, "my.toml")

    assert str(caught.value) == message


def test_a_list_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"the list of sensitive interests .*nowhere.toml can't be read"
    ):
        SensitiveSettings(list=tmp_path / "nowhere.toml").names()


def test_the_file_that_comes_with_the_service_is_part_of_the_package() -> None:
    assert DEFAULT_LIST.parent.name == "stream"
    assert "[always.health]" in DEFAULT_LIST.read_text()


# -- events ------------------------------------------------------------------------------------------------------


def test_of_a_basket_only_the_sensitive_products_are_withheld() -> None:
    basket = decoded(items=[TEA, item("Cough drops", "Cold and flu"), item("Brie", "Cheese")])

    kept = withhold(basket, NAMES)

    assert [one.item_name for one in kept.event.items] == ["Green Tea", "Brie"]
    assert kept.change == Change.SENSITIVE
    assert kept.occurred_at_ms == basket.occurred_at_ms


def test_sensitive_words_of_a_search_are_withheld() -> None:
    search = decoded(event_type="search", items=[], search_term="pregnancy test")

    assert withhold(search, NAMES).event.search_term is None


def test_a_harmless_event_stays_the_same_object() -> None:
    event, search = decoded(), decoded(event_type="search", items=[], search_term="brie")

    assert withhold(event, NAMES) is event
    assert withhold(search, NAMES) is search
    assert withhold(decoded(items=[item("wine", "wine")]), NOTHING_SENSITIVE).change == Change.NONE


async def test_fold_counts_a_sensitive_event_and_remembers_nothing_of_what_it_was_about() -> None:
    fold = folder(privacy=PrivacyRules(sensitive=NAMES))
    purchase = event_value(event_type="purchase", items=[TEA, item("Laxatives", "Laxatives")])

    await fold.fold(record(0, purchase), record(1, event_value(event_id="e2", items=[item("Wine", "Wine")])))

    assert fold.outcomes() == {(Outcome.NORMALISED, "sensitive"): 2}
    state = fold.state()
    assert state is not None
    assert (state.revision, state.orders.count, len(state.recent)) == (2, 1, 2)
    assert list(state.profile.categories) == [category_hash("tea")]
    assert list(state.window.categories) == [category_hash("tea")]
    assert [out.value for out in fold.sender.records(TEXTS_TOPIC)] == [b"green tea, tea, drinks"]


# -- campaigns ---------------------------------------------------------------------------------------------------

GUARDED = InterestRows(INTERESTS.row_by_category, np.asarray(INTERESTS.vectors), NAMES)


def test_a_campaign_that_is_sensitive_by_name_or_category_loses() -> None:
    decision = decided(
        campaign("a", name="Cough season"),
        campaign("b", cat=["IAB7-1"]),
        campaign("c", creatives=[wine("c-wine")]),
        campaign("d"),
        interests=GUARDED,
    ).decision

    assert reasons(decision) == {
        "a": ("lost", CandidateReason.SENSITIVE, 507),
        "b": ("lost", CandidateReason.SENSITIVE, 507),
        "c": ("lost", CandidateReason.SENSITIVE, 507),
        "d": ("won", CandidateReason.BEST_VALUE, None),
    }


def test_a_sensitive_creative_is_never_shown_and_its_campaign_goes_on_with_the_others() -> None:
    decision = decided(campaign("a", creatives=[wine("1"), cheese("2")]), interests=GUARDED).decision

    assert [(one.crid, one.outcome) for one in decision.candidates] == [("2", "won")]
