#!/bin/sh
# Resolve the three lock files again (needs uv). Hashes are kept, index addresses are not.
set -eu
cd "$(dirname "$0")/.."
lock() {
    name=$1
    shift
    uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
        --no-annotate --no-header "$@" pyproject.toml requirements/build.in -o "requirements/$name.lock"
}
lock runtime
lock lab --extra lab
lock dev --extra dev
