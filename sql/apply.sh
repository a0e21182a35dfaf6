#!/bin/sh

# Copyright (C) ngx_http_apikeys_module contributors
#
# Brings a database to the schema of this directory: sql/apply.sh CONNINFO
# Each file is one transaction and is skipped where it is applied already.

set -eu

[ $# -eq 1 ] || { echo "usage: $0 CONNINFO" >&2; exit 2; }

for file in "$(dirname "$0")"/[0-9]*.sql; do
    psql -X -q -o /dev/null -v ON_ERROR_STOP=1 -d "$1" -f "$file"
done
