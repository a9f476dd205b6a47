"""What is published of a user, from the model or from a lower rung of the ladder."""

import numpy as np

from stream.ads.response import ResponseModel
from stream.ads.snapshot import CampaignSnapshot, InterestRows
from stream.due import DueUser
from stream.moment import Asked, user_moment
from stream.publisher import Result
from stream.results import Answer, ResultBuilder, ResultRules
from stream.rollout import ModelNames
from stream.score_record import ScoreRecord
from stream.setting_sections import ScoreSettings
from stream.state import UserState
from tests.builders import NOW_MS
from tests.unit.test_interest_update import bundle, floats


class Line:
    """One user's record under one version."""

    def __init__(self, version: str = "5") -> None:
        self.record = ScoreRecord()
        self.state = UserState()
        self.state.folded_at_ms = NOW_MS
        self.use(version)

    def use(self, version: str, role: str = "champion") -> None:
        head = bundle().head._replace(version=version)
        self.bundle = bundle(head=head)
        response = ResponseModel([1.0, 0.5, 0.2, 0.1, 0.0], -3.0)
        self.builder = ResultBuilder(ResultRules(self.bundle, ScoreSettings(), None, response))
        names = ModelNames("challenger" if role == "challenger" else "champion", "5", "6")
        self.builder.names = names

    def news(self) -> None:
        self.state.revision += 1

    def build(self, *scores: float) -> Result:
        """The model's scores, or without any a fallback."""
        answer = Answer(floats(*scores), floats(0.1, 0.2, 0.3), np.zeros(3, np.float32)) if scores else None
        due = DueUser(0, b"u1", 0, 0.0)
        moment = user_moment(due, self.state, self.record, {}, Asked(self.bundle, 86_400_000))
        interests = InterestRows(self.bundle.row_by_category, self.bundle.interest_vectors)
        snapshot = CampaignSnapshot.build((), interests, {})
        return self.builder.build(moment, answer, snapshot, NOW_MS, NOW_MS)


def test_scores_that_hardly_moved_are_no_update() -> None:
    line = Line()
    line.news()
    assert line.build(0.5, 0.2, 0.1).update is not None
    line.news()

    assert line.build(0.51, 0.2, 0.1).update is None


def test_after_a_fallback_the_models_word_is_published_even_if_it_is_hardly_different() -> None:
    line = Line()
    line.news()
    line.build(0.5, 0.2, 0.1)
    line.news()
    fallback = line.build()
    assert fallback.update is not None
    assert fallback.update.source == "cached"

    confirmed = line.build(0.5, 0.2, 0.1)

    assert confirmed.update is not None
    assert confirmed.update.source == "model"


def test_one_fallback_is_published_of_a_revision() -> None:
    line = Line()
    line.news()

    assert line.build().update is not None
    assert line.build().update is None


def test_whoever_another_version_scored_is_noted_even_if_nothing_is_published() -> None:
    line = Line()
    line.news()
    line.build(0.5, 0.2, 0.1)
    line.use("6", "challenger")

    result = line.build(0.5, 0.2, 0.1)

    assert result.update is None
    assert result.record is not None
    assert result.record.version == "6"


def test_an_update_names_champion_and_challenger_and_which_of_them_scored() -> None:
    line = Line()
    line.use("6", "challenger")
    line.news()

    update = line.build(0.5, 0.2, 0.1).update

    assert update is not None
    assert update.model is not None
    assert (update.model.version, update.model.role) == ("6", "challenger")
    assert (update.model.champion, update.model.challenger) == ("5", "6")
