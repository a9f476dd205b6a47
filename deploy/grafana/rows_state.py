"""The rows of ads, and of the state with what moves it between workers."""

from typing import Final

from deploy.grafana.panels import PanelSpec, Query, RowSpec, increase, largest, rate, total

_TOPIC: Final = 'topic=~"$topic"'
_FILLED: Final = 'filled="true"'

ADS: Final = RowSpec(
    "Ads",
    (
        PanelSpec(
            "Ad decisions",
            "Decisions published, filled (true) or not (false).",
            "mps",
            (Query(rate("interestflow_ad_decisions_total", "filled"), "filled: {{filled}}"),),
            stacked=True,
        ),
        PanelSpec(
            "Fill ratio",
            "Decisions that had a winner.",
            "percentunit",
            (
                Query(
                    f"{rate('interestflow_ad_decisions_total', where=_FILLED)}"
                    f" / {rate('interestflow_ad_decisions_total')}",
                    "filled",
                ),
            ),
        ),
        PanelSpec(
            "Lost by reason",
            "Campaigns that did not win a decision. The whole trail of one decision is in ads.decisions.",
            "cps",
            (Query(rate("interestflow_ad_candidate_losses_total", "reason"), "{{reason}}"),),
            stacked=True,
        ),
        PanelSpec(
            "Campaigns",
            "Campaigns in the snapshot; every worker reads them all, so their numbers should be the same.",
            "short",
            (Query(largest("interestflow_ad_campaigns", "instance"), "{{instance}}"),),
        ),
        PanelSpec(
            "Campaign records rejected",
            "Records of ads.campaigns that can't be used; the campaign stays as it was.",
            "cps",
            (
                Query(
                    rate("interestflow_ad_campaigns_rejected_total", "reason"),
                    "{{reason}}",
                    only_in_trouble=True,
                ),
            ),
        ),
    ),
)

STATE: Final = RowSpec(
    "State and rebalances",
    (
        PanelSpec(
            "Users in the state",
            "Users of this worker's partitions.",
            "short",
            (Query(largest("interestflow_users", "instance"), "{{instance}}"),),
            stacked=True,
        ),
        PanelSpec(
            "Users forgotten",
            "expired: nothing came for INTERESTFLOW_STORE__USER_TTL_DAYS. crowded: there are more than "
            "INTERESTFLOW_STORE__MAX_USERS, so raise it or add a worker.",
            "short",
            (Query(increase("interestflow_users_evicted_total", "why"), "{{why}}", only_in_trouble=True),),
        ),
        PanelSpec(
            "Assigned partitions",
            "Input partitions held. Summed over the workers it must be the partition count, for every topic.",
            "short",
            (Query(total("interestflow_assigned_partitions", "topic", _TOPIC), "{{topic}}"),),
        ),
        PanelSpec(
            "Age of committed offsets",
            "For how long a partition with records to read has not moved on, by topic, the worst of each worker. From "
            "1 minute on the worker is not ready, after 3 it ends: see the runbook partition-stalled.",
            "s",
            (
                Query(
                    largest("interestflow_committed_offset_age_seconds", "instance, topic", _TOPIC),
                    "{{instance}}: {{topic}}",
                    only_in_trouble=True,
                ),
            ),
        ),
        PanelSpec(
            "Rebalances",
            "In the interval. Every rebalance stops the whole group for seconds; more than a few an hour: workers flap.",
            "short",
            (Query(increase("interestflow_rebalances_total", "instance"), "{{instance}}"),),
        ),
        PanelSpec(
            "Records fetched again",
            "Repeats that were filtered and jumps that were answered by seeking back: normal around a rebalance.",
            "recps",
            (
                Query(
                    rate("interestflow_transport_repeats_filtered_total", "topic", _TOPIC),
                    "{{topic}}: repeats",
                    only_in_trouble=True,
                ),
                Query(
                    rate("interestflow_transport_seek_backs_total", "topic", _TOPIC),
                    "{{topic}}: seeks back",
                    only_in_trouble=True,
                ),
            ),
        ),
        PanelSpec(
            "Rewound sources",
            "An input log that went back while it was read: recreated or truncated. Must be 0: see the runbook "
            "source-rewound.",
            "short",
            (
                Query(
                    increase("interestflow_source_rewound_total", "topic", _TOPIC),
                    "{{topic}}",
                    only_in_trouble=True,
                ),
            ),
        ),
        PanelSpec(
            "Changelog records read back",
            "Read to bring a store up to date: after a start, and for partitions that came from another worker.",
            "recps",
            (
                Query(
                    rate("interestflow_changelog_records_read_back_total", "table"),
                    "{{table}}",
                    only_in_trouble=True,
                ),
            ),
        ),
        PanelSpec(
            "Changelog traffic",
            "State bytes sent to the changelogs; the cost of durability.",
            "Bps",
            (Query(rate("interestflow_changelog_bytes_total", "table"), "{{table}}"),),
        ),
        PanelSpec(
            "Sends tried again",
            "Retryable errors of the producer, batches that a broker did not answer before their partitions moved, and "
            "requests that waited because the group may have gone on without this worker, or that the broker refused because "
            "it has. The stream waits or repeats, and loses nothing.",
            "cps",
            (
                Query(rate("interestflow_send_retries_total", "error"), "{{error}}", only_in_trouble=True),
                Query(rate("interestflow_sends_given_up_total"), "given up", only_in_trouble=True),
                Query(rate("interestflow_sends_held_total"), "held", only_in_trouble=True),
                Query(rate("interestflow_sends_fenced_total"), "fenced", only_in_trouble=True),
            ),
        ),
        PanelSpec(
            "Texts first met",
            "Product texts sent to catalog.texts; each is encoded once. Falls as the catalogue becomes known.",
            "cps",
            (Query(rate("interestflow_texts_published_total"), "texts"),),
        ),
    ),
)
