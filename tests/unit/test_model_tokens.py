"""Texts become rectangles of token ids of a few fixed lengths."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from stream.errors import ModelRepositoryError
from stream.model.tokens import Tokeniser
from tests.toy_repository import toy_tokenizer

BUCKETS = (4, 8, 16)


@pytest.fixture(scope="module")
def tokeniser(tmp_path_factory: pytest.TempPathFactory) -> Tokeniser:
    path = tmp_path_factory.mktemp("tokens") / "tokenizer.json"
    tokenizer = toy_tokenizer()
    # As published ones do: what the file says of padding and truncation is not what this encoder is served with.
    tokenizer.enable_padding(length=128)
    tokenizer.enable_truncation(128)
    tokenizer.save(str(path))
    return Tokeniser(path, max_tokens=12, buckets=BUCKETS)


def test_a_text_is_framed_and_padded_to_the_next_length(tokeniser: Tokeniser) -> None:
    tokens = tokeniser.batch(["milk"])

    milk = toy_tokenizer().token_to_id("milk")
    assert tokens.ids.tolist() == [[2, milk, 3, 0]]
    assert tokens.mask.tolist() == [[1, 1, 1, 0]]
    assert tokens.ids.dtype == np.int32
    assert tokens.mask.dtype == np.int32


def test_the_longest_text_of_a_batch_sets_its_length(tokeniser: Tokeniser) -> None:
    tokens = tokeniser.batch(["milk", "fresh organic milk tea"])

    assert tokens.ids.shape == (2, 8)
    assert tokens.mask.sum(axis=1).tolist() == [3, 6]


def test_a_long_text_is_cut_and_keeps_its_frame(tokeniser: Tokeniser) -> None:
    tokens = tokeniser.batch(["tea " * 100])

    assert tokens.ids.shape == (1, 16)
    assert tokens.mask.sum() == 12
    assert tokens.ids[0, 11] == 3


@given(texts=st.lists(st.text(alphabet=st.characters(), max_size=60), min_size=1, max_size=20))
def test_any_text_fits_some_length(tokeniser: Tokeniser, texts: list[str]) -> None:
    tokens = tokeniser.batch(texts)

    assert tokens.ids.shape == tokens.mask.shape
    assert tokens.ids.shape[0] == len(texts)
    assert tokens.ids.shape[1] in BUCKETS
    assert 2 <= tokens.mask.sum(axis=1).min() <= tokens.mask.sum(axis=1).max() <= 12


def test_a_lone_surrogate_is_read_as_an_unknown_character(tokeniser: Tokeniser) -> None:
    assert tokeniser.batch(["milk \ud800"]).ids.tolist() == tokeniser.batch(["milk ?"]).ids.tolist()


def test_a_file_that_is_no_tokeniser_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": 1}')

    with pytest.raises(ModelRepositoryError, match=r"tokenizer\.json can't be read as a tokeniser"):
        Tokeniser(path, max_tokens=12, buckets=BUCKETS)
