"""A due user as of one moment: what the model is asked about, and what a result is made of."""

from typing import Final, NamedTuple

from stream.due import DueUser
from stream.features import Floats, history_features, user_features, window_vectors
from stream.model.repository import ModelBundle
from stream.score_record import ScoreRecord
from stream.state import UserState

#: The request of a scoring that an event caused; it tells apart the ids of several results of one revision.
UPDATE_REQUEST: Final = "update"
#: That of a scoring because another model version took over.
VERSION_REQUEST: Final = "version"


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


class Asked(NamedTuple):
    """Who is asked, and how long after a scoring a quiet user is looked at again."""

    bundle: ModelBundle
    review_ms: int


def user_moment(
    due: DueUser, state: UserState, record: ScoreRecord, vectors: dict[int, Floats], asked: Asked
) -> UserMoment:
    """The features of a user by the vectors that are known."""
    bundle = asked.bundle
    at_ms, request = _when(state, record, asked)
    known = [vectors.get(text_hash) for text_hash in state.window.texts]
    return UserMoment(
        due,
        state,
        record,
        at_ms,
        request,
        known,
        history_features(state, bundle.row_by_category, bundle.labels, at_ms),
        user_features(state, at_ms),
        window_vectors(state.window, known, bundle.dimensions, at_ms),
    )


def seen_by(moment: UserMoment, vectors: dict[int, Floats], bundle: ModelBundle) -> UserMoment:
    """The same moment as another model version sees it: its label set, its vectors."""
    state, at_ms = moment.state, moment.at_ms
    known = [vectors.get(text_hash) for text_hash in state.window.texts]
    return moment._replace(
        vectors=known,
        history=history_features(state, bundle.row_by_category, bundle.labels, at_ms),
        window=window_vectors(state.window, known, bundle.dimensions, at_ms),
    )


def _when(state: UserState, record: ScoreRecord, asked: Asked) -> tuple[int, str]:
    """The moment, and the request that caused it."""
    if record.revision_scored != state.revision or record.next_review_ms <= 0:
        return state.folded_at_ms, UPDATE_REQUEST
    version = asked.bundle.head.version
    if record.version not in ("", version):
        # Nothing new of the user, but of the model: as of the last review, for the next may lie ahead.
        return max(
            record.next_review_ms - asked.review_ms, state.folded_at_ms
        ), f"{VERSION_REQUEST}-{version}"
    at_ms = max(record.next_review_ms, state.folded_at_ms)
    return at_ms, f"review-{at_ms}"
