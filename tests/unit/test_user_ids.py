"""What may be a user id, and what of it looks like a person or like another's."""

import unicodedata

import pytest

from stream.errors import RejectionError
from stream.events import Reason
from stream.user_ids import is_ordinary, is_same_id, key_names_a_person, names_a_person, settle_user_id
from tests.bad_inputs import COMPOSED, DECOMPOSED, NAMES_A_PERSON

PSEUDONYMS = (
    "u1",
    "1041",
    "4915123456789",
    "0192ce4a-b2f1-7cc3-98aa-334455667788",
    "5f4dcc3b5aa765d61d8327deb882cf99",
    "user_00042",
    "shop:user/17",
    "user@tenant",
    "jos\u00e9",
    "\u0438\u0432\u0430\u043d",
    "\u738b\u5c0f\u660e",
)


def rejection(user_id: str) -> RejectionError:
    with pytest.raises(RejectionError) as caught:
        settle_user_id(user_id)
    return caught.value


@pytest.mark.parametrize("user_id", PSEUDONYMS)
def test_a_pseudonym_is_taken_as_it_is(user_id: str) -> None:
    assert settle_user_id(user_id) == user_id


@pytest.mark.parametrize("user_id", ["u1", "1041", "0192ce4a-b2f1-7cc3-98aa-334455667788", "a-b"])
def test_what_the_quick_look_passes_needs_no_other(user_id: str) -> None:
    assert is_ordinary(user_id) == (user_id != "a-b")
    assert settle_user_id(user_id) == user_id


@pytest.mark.parametrize(
    "user_id", [*NAMES_A_PERSON, "", " ", "u\x00", "p\u0430ul", DECOMPOSED, "u 1", "u\u200b1"]
)
def test_the_quick_look_passes_nothing_that_needs_another(user_id: str) -> None:
    assert not is_ordinary(user_id)


@pytest.mark.parametrize("user_id", NAMES_A_PERSON)
def test_an_address_or_a_number_names_a_person_and_the_rejection_does_not_repeat_it(user_id: str) -> None:
    error = rejection(user_id)

    assert names_a_person(user_id)
    assert key_names_a_person(user_id.encode())
    assert error.reason is Reason.PII_IN_ID
    assert str(error) == (
        "pii_in_id: user_id looks like an e-mail address or a phone number; send a pseudonym, as an HMAC of it"
    )


@pytest.mark.parametrize("key", [None, b"", b"u1", b"\xff"])
def test_a_key_that_is_none_or_no_text_names_nobody(key: bytes | None) -> None:
    assert not key_names_a_person(key)


@pytest.mark.parametrize(
    ("user_id", "reason", "says"),
    [
        ("", Reason.USER_ID, "empty or only spaces"),
        (" \t\u00a0", Reason.USER_ID, "empty or only spaces"),
        ("u\x00", Reason.CONTROL, "control character U+0000"),
        ("u\x9f", Reason.CONTROL, "control character U+009F"),
        ("u\u200d1", Reason.UNICODE_ID, "holds U+200D, which nobody sees"),
        ("u\u2066", Reason.UNICODE_ID, "holds U+2066"),
        ("\ufeffu1", Reason.UNICODE_ID, "holds U+FEFF"),
        ("u\ue000", Reason.UNICODE_ID, "holds U+E000"),
        ("u\u2460", Reason.UNICODE_ID, "a variant of a plain character"),
        ("p\u0430ul", Reason.UNICODE_ID, "mixes letters of CYRILLIC and LATIN"),
        ("\u03bfne", Reason.UNICODE_ID, "mixes letters of GREEK and LATIN"),
    ],
)
def test_an_id_that_cannot_be_told_from_another_is_refused(user_id: str, reason: Reason, says: str) -> None:
    error = rejection(user_id)

    assert error.reason is reason
    assert says in error.detail


def test_two_spellings_are_settled_as_one() -> None:
    assert settle_user_id(DECOMPOSED) == COMPOSED == unicodedata.normalize("NFC", DECOMPOSED)
    assert is_same_id(DECOMPOSED.encode(), COMPOSED.encode())
    assert not is_same_id(b"\xff", COMPOSED.encode())
