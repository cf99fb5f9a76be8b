#!/bin/sh
# Starts tritonserver on every model of two repositories: this image's own, which holds feedback, index and why, and
# the one that the worker publishes services to. Arguments are passed on to tritonserver.
set -eu

fail() {
    echo "perennial: $1" >&2
    exit 1
}

services=${PERENNIAL_REPOSITORY:?names the folder that the worker publishes to}
key_file=${PERENNIAL_SERVER__ADMIN_KEY_FILE:?names the file with the secret of the admin APIs}

[ -d "$services" ] || fail "PERENNIAL_REPOSITORY $services is no folder; mount the volume that the worker writes"
[ -r "$key_file" ] || fail "the admin secret $key_file cannot be read by user $(id -u); let that user own the file"
admin_key=$(cat "$key_file")
case $admin_key in
    "" | *[!0-9a-f]*) fail "the admin secret in $key_file is not hex digits; write one with: openssl rand -hex 32" ;;
esac
[ ${#admin_key} -ge 32 ] || fail "the admin secret in $key_file is shorter than 32 digits; openssl rand -hex 32"

cache_mb=${PERENNIAL_SERVER__CACHE_MB:-0}
case $cache_mb in
    0) ;;
    "" | *[!0-9]*) fail "PERENNIAL_SERVER__CACHE_MB $cache_mb is no number of megabytes; 0 is no cache" ;;
    *) set -- "--cache-config=local,size=$((cache_mb * 1024 * 1024))" "$@" ;;
esac

for config in model_repository/*/config.pbtxt "$services"/*/config.pbtxt; do
    [ -f "$config" ] || continue # a pattern without a match stands for itself
    model=${config%/config.pbtxt}
    set -- "--load-model=${model##*/}" "$@"
done

# What clients may not reach, how long to wait for it, and what to count: as perennial.server.arguments says.
closed="model-repository,shared-memory,trace,logging:perennial-admin=$admin_key"

# One service that does not load must not take the others' answers away: the server goes on, and is not ready.
exec tritonserver \
    --model-repository="$PWD/model_repository" \
    --model-repository="$services" \
    --model-control-mode=explicit \
    --disable-auto-complete-config \
    --exit-on-error=false \
    --strict-readiness=true \
    --exit-timeout-secs=5 \
    --log-format=ISO8601 \
    --http-restricted-api="$closed" \
    --grpc-restricted-protocol="$closed" \
    --metrics-config=summary_latencies=true \
    --metrics-config=summary_quantiles=0.5:0.05,0.95:0.005,0.99:0.001 \
    --backend-config=python,stub-timeout-seconds=60 \
    "$@"
