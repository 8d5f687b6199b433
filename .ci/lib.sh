# Shared by the scripts here: . .ci/lib.sh

fail() { # WHY
    echo "${0##*/}: $1" >&2
    exit 1
}

is() { # WHAT FOUND EXPECTED
    [ "$2" = "$3" ] || fail "$1 is $2; expected $3"
}

root() { # COMMAND...
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

inspect() { # IMAGE_OR_CONTAINER FIELD: as JSON
    docker inspect --format "{{json $2}}" "$1"
}
