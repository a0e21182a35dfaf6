#!/bin/sh

# Copyright (C) ngx_http_apikeys_module contributors
#
# Creates or upgrades the schema of a database: sql/apply.sh CONNINFO
# Each version is a folder vN and one transaction; versions that the database
# has are skipped.

set -eu

[ $# -eq 1 ] || { echo "usage: $0 CONNINFO" >&2; exit 2; }

dir=$(cd "$(dirname "$0")" && pwd)

query() {
    psql -XAtq -v ON_ERROR_STOP=1 -d "$1" -c "$2"
}

found=$(query "$1" "
    SELECT CASE
        WHEN to_regclass('apikeys.schema_version') IS NULL THEN 'none'
        WHEN EXISTS (SELECT FROM pg_attribute
                      WHERE attrelid = to_regclass('apikeys.schema_version')
                        AND attname = 'compatible_from') THEN 'schema'
        ELSE 'unreleased' END")

version=0

case $found in
schema)
    version=$(query "$1" "SELECT max(version) FROM apikeys.schema_version")
    ;;
unreleased)
    echo "$0: the database has a schema that was never released and cannot be" \
         "upgraded; drop it (DROP SCHEMA apikeys CASCADE) and apply again" >&2
    exit 1
    ;;
esac

while version=$((version + 1)); [ -d "$dir/v$version" ]; do

    set -- "$1"

    for file in "$dir/v$version"/*.sql; do
        set -- "$@" -f "$file"
    done

    conninfo=$1
    shift

    psql -Xq1 -o /dev/null -v ON_ERROR_STOP=1 -d "$conninfo" "$@"

    set -- "$conninfo"
done
