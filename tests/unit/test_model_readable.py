"""Row 42: how much of a window the encoder can read, by the shipped tokeniser."""

from pathlib import Path

import pytest

from stream.model.readable import ReadableTexts
from stream.model.repository import newest_version
from stream.model.tokens import Tokeniser

SHIPPED = newest_version(Path(__file__).parents[2] / "triton_models" / "behaviour_encoder") / "tokenizer.json"


def readable() -> ReadableTexts:
    return ReadableTexts(Tokeniser(SHIPPED, 64, (16, 64)))


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("green tea, drinks", True),
        ("\U0001f375\U0001f4a4", False),
        ("\U0001f375 tea", True),
        ("\u05ea\u05d4 \u05d9\u05e8\u05d5\u05e7", False),  # Hebrew
        ("\u7eff\u8336", False),  # Chinese
        ("x 7 .", False),
        ("k\u00e4se", True),
        ("\ud800", False),
    ],
)
def test_a_text_is_read_if_the_encoder_has_a_word_of_it(text: str, *, reads: bool) -> None:
    texts = readable()

    texts.look_at({1: text})

    assert texts.coverage([1]) == float(reads)


def test_coverage_is_the_share_of_behaviours_and_an_unknown_text_counts_as_unread() -> None:
    texts = readable()
    texts.look_at({1: "tea", 2: "\U0001f375"})
    texts.look_at({1: "tea"})

    assert texts.coverage([1, 1, 2, 9]) == 0.5
    assert texts.coverage([]) == 1.0


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.model.readable._MEMORY", 2)
    texts = readable()
    texts.look_at({1: "tea", 2: "milk"})

    texts.look_at({2: "milk", 3: "bread"})

    assert texts.coverage([2, 3]) == 1.0
    assert texts.coverage([1]) == 0.0
