from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("duckdb", reason="needs the trainer extra: pip install 'interestflow[trainer]'")

from tests.shop_files import DAY_MS, purchase, write_archive
from trainer.events.reading import StoredRecord
from trainer.recorder import Folded, Recorder
from trainer.sample_check import Checked, CheckSize, check_samples

pytestmark = pytest.mark.trainer

USERS = [f"u{number}" for number in range(6)]
CATEGORIES = ("cheese", "milk", "tea", "bread")


def shop() -> list[dict[str, Any]]:
    types = ("purchase", "view_item", "add_to_cart", "purchase", "click")
    return [
        purchase(
            user,
            3 * step + 0.05 * number,
            ("cheese", "milk", "tea")[(step + number) % 3],
            event_type=types[(step + number) % 5] if step % 4 else "purchase",
            minor=user == "u5" and step == 20,
        )
        for step in range(44)
        for number, user in enumerate(USERS)
    ]


def archive(directory: Path) -> Path:
    """With late, doubled and contradicting events."""
    bodies = shop()
    received = {
        body["event_id"]: body["occurred_at_ms"] + (number % 5) * DAY_MS // 2
        for number, body in enumerate(bodies)
        if number % 7 == 0
    }
    again = [body for number, body in enumerate(bodies) if number % 9 == 0]
    other = [{**body, "dwell_ms": 5} for number, body in enumerate(bodies) if number % 11 == 0]
    return write_archive(directory / "events", [*bodies, *again, *other], received)


def check(directory: Path) -> Checked:
    return check_samples(archive(directory), CheckSize(moments=12, users=6, bundle=7))


def test_samples_say_what_a_worker_would_have_seen(tmp_path: Path) -> None:
    found = check(tmp_path)

    assert found.mismatches == []
    assert (found.comparisons, found.users, found.cutoffs) == (72, 6, 12)


def test_topics_of_one_moment_differ_in_the_last_place_at_most(tmp_path: Path) -> None:
    bodies = [
        purchase(
            user,
            3.3 * step,
            *CATEGORIES[: 2 + step % 3],
            *CATEGORIES[:2],
            event_type=kind,
            event_id=f"{kind}-{user}-{step}",
        )
        for step in range(44)
        for user in USERS
        for kind in ("purchase", "view_item", "click")
    ]

    found = check_samples(
        write_archive(tmp_path / "events", bodies), CheckSize(moments=12, users=6, bundle=7)
    )

    assert found.mismatches == []
    assert found.rounded > 0


def test_a_sample_maker_that_loses_records_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = Recorder.fold

    def forgetful(recorder: Recorder, record: StoredRecord) -> Folded | None:
        return None if record.offset % 50 == 3 else fold(recorder, record)

    monkeypatch.setattr(Recorder, "fold", forgetful)

    found = check(tmp_path)

    assert {"history", "user", "window_kinds"} <= {mismatch.column for mismatch in found.mismatches}
    assert found.document()["mismatches"] == len(found.mismatches) > 0
