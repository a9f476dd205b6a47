#!/bin/sh
# Starts Triton on the model repository at /models (or MODEL_REPOSITORY); arguments are passed on to it.
set -eu

# What changes models, maps memory or writes files is open only to who holds this key. Without a key of yours a
# random one, which nobody knows, keeps it shut.
admin_key="${TRITON_ADMIN_KEY:-$(cat /proc/sys/kernel/random/uuid)}"
closed="model-repository,shared-memory,trace,logging:admin-key=${admin_key}"

# Strict readiness stays false for ever after one failed load; each model's own readiness is asked instead.
# The ping interval's default of 5 min would answer the worker's keepalive with GOAWAY.
exec tritonserver \
    --model-repository="${MODEL_REPOSITORY:-/models}" \
    --model-control-mode=explicit \
    --load-model=behaviour_encoder \
    --load-model=interest_head \
    --strict-readiness=false \
    --exit-timeout-secs=15 \
    --grpc-restricted-protocol="${closed}" \
    --http-restricted-api="${closed}" \
    --grpc-http2-min-recv-ping-interval-without-data=5000 \
    --metrics-config=summary_latencies=true \
    --metrics-config=summary_quantiles=0.5:0.05,0.9:0.01,0.99:0.001 \
    "$@"
