"""A due user as of one moment: what the model is asked about, and what a result is made of."""

from typing import Final, NamedTuple

from stream.due import DueUser
from stream.features import Floats, history_features, user_features, window_vectors
from stream.model.repository import ModelBundle
from stream.score_record import ScoreRecord
from stream.state import UserState

#: The request of a scoring that an event caused; it tells apart the ids of several results of one revision.
UPDATE_REQUEST: Final = "update"


class UserMoment(NamedTuple):
    """State, own record and features of a user.

    The moment is the last applied event, or the review that was planned, never the time of the scoring: a repeat
    after a crash gives the same numbers and ids.
    """

    due: DueUser
    state: UserState
    record: ScoreRecord
    at_ms: int
    request: str
    vectors: list[Floats | None]
    """Of each behaviour of the window its text's vector [D], if it is known."""
    history: Floats
    """[L, H]"""
    features: Floats
    """[U]"""
    window: Floats
    """[K, D]"""
    text_coverage: float = 1.0
    """Share of the window's behaviours whose text the encoder reads."""

    @property
    def user_id(self) -> str:
        """The user's id as it came in."""
        return self.due.key.decode()


def user_moment(
    due: DueUser, state: UserState, record: ScoreRecord, vectors: dict[int, Floats], bundle: ModelBundle
) -> UserMoment:
    """The features of a user by the vectors that are known."""
    is_review = record.revision_scored == state.revision and record.next_review_ms > 0
    at_ms = max(record.next_review_ms, state.folded_at_ms) if is_review else state.folded_at_ms
    known = [vectors.get(text_hash) for text_hash in state.window.texts]
    return UserMoment(
        due,
        state,
        record,
        at_ms,
        f"review-{at_ms}" if is_review else UPDATE_REQUEST,
        known,
        history_features(state, bundle.row_by_category, bundle.labels, at_ms),
        user_features(state, at_ms),
        window_vectors(state.window, known, bundle.dimensions, at_ms),
    )
