#!/bin/sh
# Resolve the lock files again (needs uv). Hashes are kept, index addresses are not.
set -eu
cd "$(dirname "$0")/.."
lock() {
    name=$1
    shift
    uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
        --no-annotate --no-header "$@" -o "requirements/$name.lock"
}
lock runtime pyproject.toml requirements/build.in
lock lab --extra lab pyproject.toml requirements/build.in
lock dev --extra dev pyproject.toml requirements/build.in
lock sql requirements/sql.in
lock client requirements/client.in
