"""The rows of the model: first as the worker sees it, then as Triton does."""

from dataclasses import replace
from typing import Final

from deploy.grafana.panels import PanelSpec, Query, RowSpec, increase, largest, mean, quantiles, rate, total

_MODEL: Final = 'model=~"$model"'
_P99: Final = f'{_MODEL}, quantile="0.99"'


def _cache_hit_ratio() -> str:
    hits, misses = (
        rate("interestflow_vector_cache_hits_total"),
        rate("interestflow_vector_cache_misses_total"),
    )
    return f"{hits} / ({hits} + {misses})"


def _mean_seconds(metric: str) -> str:
    """Triton counts microseconds over all requests."""
    return f"{mean(metric, 'nv_inference_request_success', 'model', _MODEL)} / 1e6"


MODEL: Final = RowSpec(
    "Model, as the worker sees it",
    (
        PanelSpec(
            "Model calls by outcome",
            "ok is the normal one; anything else is counted by what went wrong.",
            "reqps",
            (
                Query(
                    rate("interestflow_model_calls_total", "model, outcome", _MODEL), "{{model}}: {{outcome}}"
                ),
            ),
            stacked=True,
        ),
        PanelSpec(
            "Model call latency",
            "One call, from the worker's side: the network and Triton's queue included.",
            "s",
            quantiles("interestflow_model_call_seconds", "model", _MODEL),
        ),
        PanelSpec(
            "Rows in a model call",
            "Users or texts in one call. Near 1 under load: batching does not work.",
            "short",
            quantiles("interestflow_model_batch_rows", "model", _MODEL),
        ),
        PanelSpec(
            "Scoring batch by stage",
            "Mean time of a stage in a batch of users: what to make faster first.",
            "s",
            (
                Query(
                    mean(
                        "interestflow_score_stage_seconds_sum",
                        "interestflow_score_stage_seconds_count",
                        "stage",
                    ),
                    "{{stage}}",
                ),
            ),
            stacked=True,
        ),
        PanelSpec(
            "Vector cache hit ratio",
            "Texts whose vector was at hand. Low for long: raise INTERESTFLOW_MODEL__CACHED_VECTORS.",
            "percentunit",
            (Query(_cache_hit_ratio(), "hits"),),
        ),
        PanelSpec(
            "Vectors cached",
            "Text vectors held, 1.5 KiB each.",
            "short",
            (Query(largest("interestflow_vectors_cached", "instance"), "{{instance}}"),),
        ),
        PanelSpec(
            "Images looked up",
            "Of items whose event names an image. Many unknown: the image catalogue is behind the shop's events.",
            "ops",
            (
                Query(
                    rate("interestflow_image_lookups_total", "outcome"), "{{outcome}}", only_in_trouble=True
                ),
            ),
        ),
        PanelSpec(
            "Breaker open",
            "1 while calls are held back because the model did not answer. See the runbook model-unavailable.",
            "short",
            (
                Query(
                    largest("interestflow_model_breaker_open", "instance, model", _MODEL),
                    "{{instance}}: {{model}}",
                ),
            ),
        ),
        PanelSpec(
            "Models loaded anew",
            "A model's process gave no answer and was loaded anew; not_allowed: the worker has no admin key for it.",
            "short",
            (
                Query(
                    rate("interestflow_model_reloads_total", "model, outcome", _MODEL),
                    "{{model}}: {{outcome}}",
                    only_in_trouble=True,
                ),
            ),
        ),
        PanelSpec(
            "Results dropped",
            "Scorings that may not be published: the user moved to another worker, or was erased meanwhile.",
            "cps",
            (
                Query(
                    rate("interestflow_score_results_dropped_total", "reason"),
                    "{{reason}}",
                    only_in_trouble=True,
                ),
            ),
        ),
        PanelSpec(
            "Model versions in use",
            "More than one version of a model: workers differ, or a change is under way.",
            "none",
            (Query(total("interestflow_model_info", "model, version", _MODEL), "{{model}} {{version}}"),),
            kind="names",
        ),
    ),
)

CHALLENGER: Final = RowSpec(
    "Model versions under trial",
    (
        PanelSpec(
            "Versions by role",
            "Who scores users, and who is tried beside it. See docs/models.md.",
            "none",
            (Query(total("interestflow_model_roles", "role, version"), "{{role}} {{version}}"),),
            kind="names",
        ),
        PanelSpec(
            "Challenger's share of the users",
            "0: there is none, or it is in the shadow. All workers show the same within seconds.",
            "percentunit",
            (Query(largest("interestflow_challenger_share_ratio", "instance"), "{{instance}}"),),
        ),
        PanelSpec(
            "Challenger's calls by outcome",
            "ok is the normal one; after any other the champion scores these users.",
            "reqps",
            (
                Query(
                    rate("interestflow_challenger_calls_total", "model, outcome"),
                    "{{model}}: {{outcome}}",
                    only_in_trouble=True,
                ),
            ),
            stacked=True,
        ),
        PanelSpec(
            "Challenger's call latency",
            "One call, from the worker's side; beside it: Model call latency, the champion's.",
            "s",
            tuple(
                replace(query, only_in_trouble=True)
                for query in quantiles("interestflow_challenger_call_seconds", "model")
            ),
        ),
        PanelSpec(
            "Users scored by both",
            "compared: by champion and challenger. skipped: the comparison before was still under way.",
            "cps",
            (
                Query(
                    rate("interestflow_model_comparisons_total", "outcome"),
                    "{{outcome}}",
                    only_in_trouble=True,
                ),
            ),
        ),
        PanelSpec(
            "Challenger's scores beside the champion's",
            "Over the last minutes: mean absolute difference of a score, top interests that both name, and expected "
            "purchases as a ratio, which is 1 for equally calibrated versions. No number: nothing was compared.",
            "short",
            (
                Query(
                    largest("interestflow_challenger_score_difference", "instance"),
                    "difference, {{instance}}",
                    only_in_trouble=True,
                ),
                Query(
                    largest("interestflow_challenger_top_overlap_ratio", "instance"),
                    "overlap, {{instance}}",
                    only_in_trouble=True,
                ),
                Query(
                    largest("interestflow_challenger_score_ratio", "instance"),
                    "expected, {{instance}}",
                    only_in_trouble=True,
                ),
            ),
        ),
        PanelSpec(
            "Challenger out of bounds",
            "1 for a bound that the challenger leaves; a canary is then taken back. See the runbook model-rollout.",
            "short",
            (
                Query(
                    largest("interestflow_challenger_out_of_bounds", "bound"),
                    "{{bound}}",
                    only_in_trouble=True,
                ),
                Query(
                    largest("interestflow_model_rollout_pending", "instance"), "not followed by {{instance}}"
                ),
                Query(
                    increase("interestflow_model_rollbacks_total", "bound"),
                    "taken back: {{bound}}",
                    only_in_trouble=True,
                ),
            ),
        ),
    ),
)

TRITON: Final = RowSpec(
    "Model, as Triton sees it",
    (
        PanelSpec(
            "Inferences",
            "Rows computed per second, by model version.",
            "rowsps",
            (Query(rate("nv_inference_count", "model, version", _MODEL), "{{model}} {{version}}"),),
        ),
        PanelSpec(
            "Rows computed together",
            "Mean size of the batches that Triton made.",
            "short",
            (Query(mean("nv_inference_count", "nv_inference_exec_count", "model", _MODEL), "{{model}}"),),
        ),
        PanelSpec(
            "Requests waiting",
            "Requests in Triton's queue. It stays above 0: Triton is the bottleneck.",
            "short",
            (Query(total("nv_inference_pending_request_count", "model", _MODEL), "{{model}}"),),
        ),
        PanelSpec(
            "Queue and compute time",
            "Mean time of a request in the queue and in the model.",
            "s",
            (
                Query(_mean_seconds("nv_inference_queue_duration_us"), "{{model}} queue"),
                Query(_mean_seconds("nv_inference_compute_infer_duration_us"), "{{model}} compute"),
            ),
        ),
        PanelSpec(
            "Request time p99",
            "Slowest of 100 requests, inside Triton.",
            "s",
            (Query(f"{largest('nv_inference_request_summary_us', 'model', _P99)} / 1e6", "{{model}}"),),
        ),
        PanelSpec(
            "Failed requests",
            "Requests that Triton failed, by its reason. Requests that a full queue refused are counted by the worker.",
            "reqps",
            (Query(rate("nv_inference_request_failure", "model, reason", _MODEL), "{{model}}: {{reason}}"),),
        ),
    ),
)
