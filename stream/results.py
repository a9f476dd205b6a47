"""From scores to what is published of one user: is it news, the update, the ad decision, the own record."""

from typing import Final, NamedTuple

import numpy as np

from stream.ads.decide import AdPolicy, AdRequest, AdUser, Scores, decide
from stream.ads.decision import AdDecision, ModelVersion
from stream.ads.response import ResponseModel
from stream.ads.snapshot import CampaignSnapshot
from stream.consent import BASIC_ADS, PERSONALISED_ADS, allows, purpose_list
from stream.contributions import TopInterests, contributions
from stream.features import Floats, profile_scores
from stream.interest_update import InterestUpdate, Source, UpdateParts, build_update, is_news, top_rows
from stream.model.repository import ModelBundle
from stream.moment import UserMoment
from stream.privacy import PrivacyRules
from stream.publisher import Result
from stream.reviews import next_review_ms
from stream.rollout import ModelNames
from stream.setting_sections import ScoreSettings

_HOUR_MS: Final = 3_600_000
#: Behaviours that an update names as what moved it.
_EXPLAINED: Final = 3
#: Ids of results that no model gave differ from those of the model's result of the same revision.
_FALLBACK_REQUEST: Final = "fallback"


class Answer(NamedTuple):
    """The model's answer for one user."""

    scores: Floats
    """[L]"""
    intent: Floats
    """[3]"""
    user_vector: Floats
    """[D]"""


class _Outcome(NamedTuple):
    """Scores from some rung of the ladder: model, cached scores, profile, none."""

    scores: Floats
    intent: Floats | None
    user_vector: Floats
    source: Source
    request: str


class ResultRules(NamedTuple):
    """What results are made by."""

    bundle: ModelBundle
    settings: ScoreSettings
    policy: AdPolicy | None
    """None: no ad decisions."""
    response: ResponseModel
    privacy: PrivacyRules = PrivacyRules()


class ResultBuilder:
    """Makes results; pure but for the time of emission, which is passed in."""

    def __init__(self, rules: ResultRules) -> None:
        self._rules = rules
        self._label_set = int(rules.bundle.label_set_hash[:16], 16)
        self._sensitive = np.array(
            [
                rules.privacy.sensitive.topic_of((interest.name,)) is not None
                for interest in rules.bundle.interests
            ]
        )
        version = rules.bundle.head.version
        #: Said in each message; changes with the rollout.
        self.names = ModelNames("champion", version, None)

    def build(
        self,
        moment: UserMoment,
        answer: Answer | None,
        campaigns: CampaignSnapshot,
        emitted_at_ms: int,
        stream_ms: int,
    ) -> Result:
        """The result of one user; without an answer from the lower rungs, and then the user stays due.

        Args:
            moment: The user; the own record in it is changed.
            answer: The model's, or None.
            campaigns: What ads may be decided on.
            emitted_at_ms: Wall clock.
            stream_ms: Stream time, for the next review.
        """
        record, state = moment.record, moment.state
        if answer is not None:
            answer = answer._replace(scores=self._harmless(answer.scores))
        outcome = self._outcome(moment, answer)
        previous = record.scores if self._has_scores(moment) else None
        if answer is None:
            is_due = record.revision_published < state.revision
        else:
            settings = self._rules.settings
            # Whoever last read a fallback is told what the model says, even if it is hardly different.
            was_fallback = record.revision_published > record.revision_scored
            is_due = was_fallback or is_news(
                answer.scores, previous, settings.top_interests, settings.change_threshold
            )
            record.revision_scored = state.revision
            period_ms = int(settings.review_hours * _HOUR_MS)
            record.next_review_ms = next_review_ms(moment.at_ms, stream_ms, period_ms)
            record.version = self._rules.bundle.head.version
        if not is_due:
            return Result(moment.due, None if answer is None else record, None, None, outcome.source)
        allowed = state.consent.allowed(stream_ms, self._rules.privacy.default_purposes)
        update = self._update(moment, outcome, previous, emitted_at_ms, purpose_list(allowed))
        decision = self._decide(
            moment, outcome, campaigns, allows_ads=allows(allowed, BASIC_ADS, PERSONALISED_ADS)
        )
        record.revision_published = state.revision
        if answer is not None:
            record.scores, record.intent = answer.scores, answer.intent
            record.label_set = self._label_set
        return Result(moment.due, record, update, decision, outcome.source)

    def _has_scores(self, moment: UserMoment) -> bool:
        return moment.record.label_set == self._label_set and len(moment.record.scores) > 0

    def _outcome(self, moment: UserMoment, answer: Answer | None) -> _Outcome:
        if answer is not None:
            return _Outcome(answer.scores, answer.intent, answer.user_vector, "model", moment.request)
        nowhere = np.zeros(self._rules.bundle.dimensions, dtype=np.float32)
        if self._has_scores(moment):
            scores = self._harmless(moment.record.scores)
            return _Outcome(scores, moment.record.intent, nowhere, "cached", _FALLBACK_REQUEST)
        scores = self._harmless(profile_scores(moment.history))
        return _Outcome(scores, None, nowhere, "profile" if scores.any() else "none", _FALLBACK_REQUEST)

    def _harmless(self, scores: Floats) -> Floats:
        """The scores with those of sensitive interests thrown away, which a network gives whether asked or not."""
        return np.where(self._sensitive, np.float32(0.0), scores)

    def _update(
        self,
        moment: UserMoment,
        outcome: _Outcome,
        previous: Floats | None,
        emitted_at_ms: int,
        purposes: list[int],
    ) -> InterestUpdate:
        bundle, window = self._rules.bundle, moment.state.window
        top = top_rows(outcome.scores, self._rules.settings.top_interests)
        top = top[~self._sensitive[top]]  # of few interests all are at the top
        explained = TopInterests(
            [bundle.interests[row].category_hash for row in top.tolist()],
            bundle.interest_vectors[top],
            outcome.scores[top],
        )
        return build_update(
            UpdateParts(
                user_id=moment.user_id,
                request=outcome.request,
                state=moment.state,
                scores=outcome.scores,
                previous=previous,
                intent=outcome.intent,
                top=top,
                moved_by=contributions(window, moment.vectors, explained, moment.at_ms, _EXPLAINED),
                source=outcome.source,
                emitted_at_ms=emitted_at_ms,
                purposes=purposes,
                text_coverage=moment.text_coverage,
                names=self.names,
            ),
            bundle,
        )

    def _decide(
        self, moment: UserMoment, outcome: _Outcome, campaigns: CampaignSnapshot, *, allows_ads: bool
    ) -> AdDecision | None:
        policy, head = self._rules.policy, self._rules.bundle.head
        if policy is None or not campaigns.rows:
            return None
        model = (
            ModelVersion(name=head.name, version=head.version, **self.names._asdict())
            if outcome.source in ("model", "cached")
            else None
        )
        who = AdUser(
            moment.user_id,
            moment.state.revision,
            moment.state.exposures,
            moment.record.reservations,
            Scores(outcome.scores, outcome.user_vector, moment.features, outcome.source, model),
            allows_ads=allows_ads,
        )
        decided = decide(
            who, campaigns, self._rules.response, policy, moment.at_ms, AdRequest(outcome.request)
        )
        moment.record.reservations = decided.reservations
        return decided.decision
