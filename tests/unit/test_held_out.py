from stream.held_out import is_held_out


def test_a_user_is_held_out_by_the_hash_of_the_id() -> None:
    # sha256: "1" 6b86…, "2" d473…, "3" 4e07…, "4" 4b22…, "5" ef2d…
    assert [is_held_out(user) for user in ("1", "2", "3", "4", "5")] == [False, False, True, True, False]
