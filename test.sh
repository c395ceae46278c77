#!/usr/bin/env bash
# All tests:            ./test.sh           (the fault matrix in its short form is about half of it;
#                                           TILLFLOW_TEST_ROWS=core ./test.sh takes its fast and telling rows only)
# The Rust tests only:  ./test.sh NAME...    (filters and options of the test programs, as after `cargo test --`)
# The fault matrix:     ./test.sh faults [--long] [NAME...]
#                       the short form takes about 25 minutes, the long one many hours and writes docs/faults.md
#
# The tests need Kafka and MongoDB. Servers that KAFKA_BOOTSTRAP_SERVERS and MONGO_URI name are used as they are;
# otherwise scripts/services.sh starts a pair of their own, in Docker or without it, and they are gone at the end.
# What is missing is a failure, never a silent skip.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root"
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

run=${CARGO_TARGET_DIR:-$root/target}/test-services
own_services=
failed=()
passed=()

# step NAME COMMAND... : goes on after a failure, so that one run shows all of them.
step() {
    local name=$1
    shift
    say "$name"
    if "$@"; then passed+=("$name"); else failed+=("$name"); fi
}

finish() {
    local status=$?
    trap - EXIT INT TERM
    [ -z "$own_services" ] || scripts/services.sh stop "$run" || status=1
    if [ "$status" -eq 0 ] && [ ${#failed[@]} -eq 0 ] && [ ${#passed[@]} -gt 0 ]; then
        [ -z "$own_services" ] || rm -rf "$run"
        printf 'test.sh: ALL PASSED in %d s: %s\n' "$SECONDS" "$(join "${passed[@]}")"
        exit 0
    fi
    [ -z "$own_services" ] || say "the services' logs are in $run"
    [ "$status" -eq 0 ] || failed+=("ended early, see above")
    printf 'test.sh: FAILED after %d s: %s\n' "$SECONDS" "$(join "${failed[@]:-nothing was tested}")"
    exit $((status == 0 ? 1 : status))
}

join() {
    local IFS=,
    printf '%s' "$*" | sed 's/,/, /g'
}

need_build_tools() {
    command -v cargo >/dev/null || die "cargo is missing: install Rust 1.88 or newer (https://rustup.rs)"
    # librdkafka asks for a C++ compiler too.
    if ! command -v cc >/dev/null || ! command -v c++ >/dev/null || ! command -v make >/dev/null ||
        ! command -v perl >/dev/null; then
        apt build-essential perl
    fi
}

# Sets TILLFLOW_TEST_CHROMIUM.
need_browser() {
    local name
    if [ -n "${CHROMIUM:-}" ]; then
        command -v "$CHROMIUM" >/dev/null || die "CHROMIUM=$CHROMIUM is no program"
        TILLFLOW_TEST_CHROMIUM=$(command -v "$CHROMIUM")
    else
        TILLFLOW_TEST_CHROMIUM=
        for name in chromium chromium-browser google-chrome google-chrome-stable; do
            if command -v "$name" >/dev/null; then
                TILLFLOW_TEST_CHROMIUM=$(command -v "$name")
                break
            fi
        done
        if [ -z "$TILLFLOW_TEST_CHROMIUM" ]; then
            apt chromium
            TILLFLOW_TEST_CHROMIUM=$(command -v chromium) || die "the package chromium brought no program of that name"
        fi
    fi
    export TILLFLOW_TEST_CHROMIUM
}

node_is_new_enough() { node -e 'process.exit(parseInt(process.versions.node, 10) < 18 ? 1 : 0)' 2>/dev/null; }

need_page_modules() {
    node_is_new_enough || apt nodejs
    command -v npm >/dev/null || apt npm
    node_is_new_enough || die "node 18 or newer is needed; $(node --version) is on the PATH"
    # `npm ci` empties the folder, so the mark is gone whenever the installation is not whole.
    if ! cmp -s tests/page/package-lock.json tests/page/node_modules/.installed; then
        (cd tests/page && npm ci --no-progress >&2 </dev/null) || die "npm could not install the modules of tests/page"
        cp tests/page/package-lock.json tests/page/node_modules/.installed
    fi
}

# A second run in the same folder would stop the services of the first.
claim_folder() {
    local owner=
    need_ps
    if [ -f "$run/owner" ] && owner=$(cat "$run/owner") && [ -n "$owner" ]; then
        case "$(ps -ww -p "$owner" -o args= 2>/dev/null)" in
            *test.sh*) die "another ./test.sh (process $owner) is running here" ;;
        esac
    fi
    # What a killed run may have left.
    scripts/services.sh stop "$run"
    rm -rf "$run"
    mkdir -p "$run"
    printf '%s\n' "$$" >"$run/owner"
}

start_own_services() {
    scripts/services.sh start "$run"
    # shellcheck source=/dev/null
    . "$run/env"
}

start_services() {
    if [ -n "${KAFKA_BOOTSTRAP_SERVERS:-}" ] && [ -n "${MONGO_URI:-}" ]; then
        say "using the servers that KAFKA_BOOTSTRAP_SERVERS and MONGO_URI name"
        scripts/services.sh check
    elif [ -n "${KAFKA_BOOTSTRAP_SERVERS:-}${MONGO_URI:-}" ]; then
        die "set both KAFKA_BOOTSTRAP_SERVERS and MONGO_URI, or neither"
    else
        claim_folder
        own_services=yes
        # Their data end with them: tests leave their databases behind.
        export TILLFLOW_TEST_SERVICES_END=yes
        start_own_services
    fi
    export KAFKA_BOOTSTRAP_SERVERS MONGO_URI
}

# Servers of its own that hold nothing yet: what hundreds of tests left behind makes the MongoDB-wire server slow, above all
# where a database is dropped.
start_services_afresh() {
    [ -n "$own_services" ] || return 0
    scripts/services.sh stop "$run"
    find "$run" -mindepth 1 ! -name owner -delete
    start_own_services
}

# The rows of the fault matrix, one after another; the arguments choose among them.
fault_matrix() {
    cargo test --release --workspace --all-features --no-fail-fast --test faults -- "$@"
}

# The long form leaves a table, whether all rows passed or not.
long_fault_matrix() {
    local status=0
    : >"$1"
    shift
    TILLFLOW_FAULTS=long TILLFLOW_FAULTS_REPORT=$report fault_matrix "$@" || status=1
    "$TILLFLOW_TEST_PYTHON" tests/faults/table.py "$report" docs/faults.md || status=1
    return "$status"
}

# The short form. The simulation needs no services and one core: it runs beside the other rows.
short_fault_matrix() {
    local beside=$run/simulation.log status=0 simulation
    mkdir -p "$run"
    fault_matrix f36_ >"$beside" 2>&1 &
    simulation=$!
    fault_matrix --skip f36_ || status=1
    wait "$simulation" || status=1
    cat "$beside"
    return "$status"
}

# What a merge needs: the rows that are fast and tell much, of each kind one or two. All of them would take it an hour.
CORE_ROWS=(
    # Killed at random and at every step, one process and two; panics; signals.
    f01_killed_at_random_sqlite_2 f01_killed_at_random_mongodb_2 f02_no_point f02_every_point_sqlite
    f03_killed_while_recovering_sqlite f05_process_of_a_cluster_killed_sqlite f07_ f08_signals_sqlite
    # Answers lost, records gone, topics made anew, what another version left, attacks on the page.
    f14_ f24_ f25_ f32_another_version_sqlite s01_
    # That memory is what is promised.
    m01_
    # That a broken protocol would be noticed.
    mutants_of_the_commit
)
# Of the protocol's simulation, as many seeds as take about a minute.
CORE_SEEDS=10000

core_fault_matrix() {
    local status=0
    fault_matrix "${CORE_ROWS[@]}" || status=1
    TILLFLOW_FAULTS_TIMES=$CORE_SEEDS fault_matrix f36_ || status=1
    return "$status"
}

case "${TILLFLOW_TEST_ROWS:-all}" in
    all | core) ;;
    *) die "TILLFLOW_TEST_ROWS=$TILLFLOW_TEST_ROWS: all or core" ;;
esac

faults=
if [ "${1:-}" = faults ]; then
    faults=short
    shift
    if [ "${1:-}" = --long ]; then
        faults=long
        shift
    fi
fi

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

need_build_tools
TILLFLOW_TEST_PYTHON=$(scripts/services.sh python)
export TILLFLOW_TEST_PYTHON
if [ $# -eq 0 ] && [ -z "$faults" ]; then
    need_browser
    need_page_modules
fi
# What does not build needs no services.
if [ -z "$faults" ]; then
    cargo test --release --workspace --all-features --no-run
fi
if [ -n "$faults" ] || [ $# -eq 0 ]; then
    cargo test --release --workspace --all-features --no-run --test faults
fi
start_services

# One test after another: the MongoDB-wire server lets definitions wait for other tests' transactions, and time limits
# would then be about the neighbours.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-1}
report=${CARGO_TARGET_DIR:-$root/target}/faults.jsonl
if [ "$faults" = long ]; then
    step "fault matrix, long form" long_fault_matrix "$report" "$@"
elif [ -n "$faults" ] && [ $# -eq 0 ]; then
    step "fault matrix, short form" short_fault_matrix
elif [ -n "$faults" ]; then
    step "rows of the fault matrix that match: $*" fault_matrix "$@"
elif [ $# -eq 0 ]; then
    step "compose file" "$TILLFLOW_TEST_PYTHON" tests/compose/check.py
    step "the oracle's own tests" "$TILLFLOW_TEST_PYTHON" -m unittest discover -s tests/oracle
    step "Rust tests" cargo test --release --workspace --all-features --no-fail-fast
    start_services_afresh
    if [ "${TILLFLOW_TEST_ROWS:-all}" = core ]; then
        step "fault matrix, core rows" core_fault_matrix
    else
        step "fault matrix, short form" short_fault_matrix
    fi
    step "page test" node tests/page/run.mjs
else
    step "Rust tests that match: $*" cargo test --release --workspace --all-features --no-fail-fast -- "$@"
fi
