"""The rows of the stream: what users wait for, how records flow, and which ones don't."""

from typing import Final

from deploy.grafana.panels import PanelSpec, Query, RowSpec, largest, mean, quantile, quantiles, rate, total

_TOPIC: Final = 'topic=~"$topic"'

SERVICE_LEVEL: Final = RowSpec(
    "Service level",
    (
        PanelSpec(
            "Workers ready",
            "Workers that are assigned, recovered and scoring. Below the number that you run: see the runbook "
            "worker-not-ready.",
            "none",
            (Query(total("interestflow_ready"), "ready"),),
            kind="number",
            width=4,
        ),
        PanelSpec(
            "Freshness p99",
            "From a record's append to the interest update that it caused, 99 of 100 updates.",
            "s",
            (Query(quantile(0.99, "interestflow_freshness_seconds"), "p99"),),
            kind="number",
            width=4,
        ),
        PanelSpec(
            "Oldest due user",
            "How long the user who has waited longest has waited for a scoring. Grows while the model does not answer.",
            "s",
            (Query(largest("interestflow_oldest_due_age_seconds"), "oldest"),),
            kind="number",
            width=4,
            warn_above=120.0,
        ),
        PanelSpec(
            "Updates published",
            "Interest updates published per second, whatever the scores came from.",
            "mps",
            (Query(rate("interestflow_interest_updates_total"), "updates"),),
            kind="number",
            width=4,
        ),
        PanelSpec(
            "Decisions published",
            "Ad decisions published per second, filled or not.",
            "mps",
            (Query(rate("interestflow_ad_decisions_total"), "decisions"),),
            kind="number",
            width=4,
        ),
        PanelSpec(
            "Stream time",
            "The clock that decays use: the wall clock, or the virtual time of a replay.",
            "dateTimeAsIso",
            (Query(f"{largest('interestflow_stream_time_seconds')} * 1000", "stream time"),),
            kind="number",
            width=4,
        ),
    ),
)

FLOW: Final = RowSpec(
    "Freshness and throughput",
    (
        PanelSpec(
            "Freshness",
            "From a record's append to the interest update that it caused. What a user of the updates waits for.",
            "s",
            quantiles("interestflow_freshness_seconds"),
        ),
        PanelSpec(
            "Input records by topic",
            "Records folded per second, bad ones included.",
            "recps",
            (Query(rate("interestflow_events_total", "topic", _TOPIC), "{{topic}}"),),
            stacked=True,
        ),
        PanelSpec(
            "Input records by outcome",
            "Each record counts once. Replayed and duplicate records rise after a restart and then end.",
            "recps",
            (Query(rate("interestflow_events_total", "outcome", _TOPIC), "{{outcome}}"),),
            stacked=True,
        ),
        PanelSpec(
            "Due users",
            "Users whose state is newer than their scores. A steady rise: the model is slower than the stream.",
            "short",
            (Query(largest("interestflow_due_users", "instance"), "{{instance}}"),),
        ),
        PanelSpec(
            "Age of the oldest due user",
            "The sign to scale the model server by. The line turns red where the alert begins to count.",
            "s",
            (Query(largest("interestflow_oldest_due_age_seconds", "instance"), "{{instance}}"),),
            warn_above=120.0,
        ),
        PanelSpec(
            "Users scored by source",
            "model is the normal one; cached, profile and none are the fallbacks while the model does not answer.",
            "ops",
            (Query(rate("interestflow_users_scored_total", "source"), "{{source}}"),),
            stacked=True,
        ),
        PanelSpec(
            "Interest updates by source",
            "Published updates, and scorings that changed too little to be news.",
            "mps",
            (
                Query(rate("interestflow_interest_updates_total", "source"), "{{source}}"),
                Query(rate("interestflow_interest_updates_unchanged_total"), "unchanged, not published"),
            ),
        ),
        PanelSpec(
            "Fold time of a bundle",
            "Decoding, folding and sending one bundle, until its state is durable.",
            "s",
            quantiles("interestflow_fold_seconds"),
        ),
        PanelSpec(
            "Records in a bundle",
            "Small under little load; at the limit of INTERESTFLOW_KAFKA__BUNDLE_RECORDS the stream is behind.",
            "short",
            quantiles("interestflow_bundle_records"),
        ),
    ),
)

REJECTS: Final = RowSpec(
    "Rejects and dead letters",
    (
        PanelSpec(
            "Rejected and changed records by reason",
            "Why records were rejected, or what was normalised in accepted ones.",
            "recps",
            (
                Query(
                    rate(
                        "interestflow_events_total",
                        "outcome, reason",
                        f'{_TOPIC}, outcome=~"rejected|normalised"',
                    ),
                    "{{outcome}}: {{reason}}",
                ),
            ),
            stacked=True,
        ),
        PanelSpec(
            "Dead letters",
            "Records written to behaviour.dead-letter, with their bytes unchanged.",
            "recps",
            (
                Query(
                    rate("interestflow_dead_letters_total", "topic, reason", _TOPIC), "{{topic}}: {{reason}}"
                ),
            ),
            stacked=True,
        ),
        PanelSpec(
            "Share of dead letters",
            "Of all input records of the topic. The line turns red where the alert begins to count.",
            "percentunit",
            (
                Query(
                    mean("interestflow_dead_letters_total", "interestflow_events_total", "topic", _TOPIC),
                    "{{topic}}",
                ),
            ),
            warn_above=0.05,
        ),
        PanelSpec(
            "Events without the step before them",
            "Taken all the same: clicks on ads never shown, purchases of what was never looked at. A rise: impressions or "
            "views don't arrive.",
            "recps",
            (
                Query(
                    rate("interestflow_events_unattributed_total", "topic, step", _TOPIC),
                    "{{topic}}: {{step}}",
                    only_in_trouble=True,
                ),
            ),
        ),
        PanelSpec(
            "Records with reserved fields",
            "Keys that frameworks give a meaning to, such as __proto__: harmless here, but someone is probing.",
            "recps",
            (
                Query(
                    rate("interestflow_reserved_fields_total", "topic", _TOPIC),
                    "{{topic}}",
                    only_in_trouble=True,
                ),
            ),
        ),
    ),
)
