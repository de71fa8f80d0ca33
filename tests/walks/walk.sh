# What the walks share. A walk is the way of a stranger with certain belongings, from a clone to what they came for:
#
#     tests/walks/run            all of them, an hour or two
#     tests/walks/run verify     one; tests/walks/NAME.sh says what it does
#
# It goes through a fresh clone of the last commit, in a folder with a space and a letter beyond ASCII, with an empty
# home and nothing of the caller's environment. The package index and, for some, HAM10000_DIR and
# SKINLESIONS_WEIGHTS_DIR must be there.

set -euo pipefail

REPOSITORY=$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)
GIVEN_IMAGES=${HAM10000_DIR:-}
GIVEN_WEIGHTS=${SKINLESIONS_WEIGHTS_DIR:-}
SCRATCH=$(mktemp -d)
CLONE="$SCRATCH/a folder é/skinlesions"
BELONGINGS=("PATH=/usr/local/bin:/usr/bin:/bin" "HOME=$SCRATCH/home" "LANG=C.UTF-8")
OUTPUT="$SCRATCH/output"

trap 'rm -rf "$SCRATCH"' EXIT

# One line with the seconds it took, so that a log of all walks can be read as a table.
said() { printf '%5d s  %s\n' "$1" "$2"; }

stumble() {
    echo "STUMBLED: $1" >&2
    tail -n 40 "$OUTPUT" >&2
    exit 1
}

clone() {
    mkdir -p "$SCRATCH/home" "$(dirname "$CLONE")"
    git clone --quiet "file://$REPOSITORY" "$CLONE"
    cd "$CLONE"
}

# The belongings of this stranger, NAME=VALUE each.
with() { BELONGINGS+=("$@"); }

# Runs a command in the clone: its exit code, all that it prints in $OUTPUT, the seconds it took in $SECONDS.
stranger() {
    SECONDS=0
    env -i "${BELONGINGS[@]}" "$@" >"$OUTPUT" 2>&1
}

# works WHAT COMMAND...: the command succeeds.
works() {
    local what=$1 && shift
    stranger "$@" || stumble "$what: $* gave $?"
    said "$SECONDS" "$what"
}

# refused WHAT SECONDS COMMAND...: the command fails within that time, with a message and no traceback.
refused() {
    local what=$1 limit=$2 && shift 2
    if stranger "$@"; then stumble "$what: $* should fail"; fi
    if grep -q Traceback "$OUTPUT"; then stumble "$what: a traceback"; fi
    if [ "$SECONDS" -gt "$limit" ]; then stumble "$what: said after $SECONDS seconds, not $limit"; fi
    said "$SECONDS" "$what"
}

# shows TEXT...: the last command printed each of these (extended regular expressions).
shows() {
    local text
    for text in "$@"; do grep -Eq -- "$text" "$OUTPUT" || stumble "nothing like '$text' was printed"; done
}

# hides TEXT...: the last command printed none of these.
hides() {
    local text
    for text in "$@"; do if grep -Eq -- "$text" "$OUTPUT"; then stumble "'$text' was printed"; fi; done
}

needs_images() {
    [ -d "$GIVEN_IMAGES" ] || { echo "skipped: set HAM10000_DIR"; exit 0; }
}

needs_weights() {
    [ -d "$GIVEN_WEIGHTS" ] || { echo "skipped: set SKINLESIONS_WEIGHTS_DIR"; exit 0; }
}

# As anybody would before a run that is to be published: the report says which commit it comes from.
commit_all() {
    works "committed" git -c user.name=Somebody -c user.email=somebody@example.org commit --quiet --all --message "Mine"
}

# Takes every model but one out of params.yaml, so that a walk on the real images takes minutes.
keep_one_model() {
    works "one frozen model kept in params.yaml" .venv/bin/python "$REPOSITORY/tests/walks/one_model.py"
}
