#!/usr/bin/env bash
# Real services for the tests: Apache Kafka and a database that speaks MongoDB's wire protocol, on 127.0.0.1 only.
#
#   scripts/services.sh start DIR            start both, write DIR/env, return
#   scripts/services.sh start --local DIR    the same, without a look for Docker
#   scripts/services.sh one NAME DIR         kafka or mongo alone, without Docker; again after it was killed; print host:port
#   scripts/services.sh stop DIR             stop what was started there; local data and logs stay
#   scripts/services.sh check                do the servers that the environment names answer?
#   scripts/services.sh python               make the Python client of the tests, print its interpreter
#
# Where a Docker engine runs, they are `kafka` and `mongo` of docker-compose.yml, as a project of their own. Elsewhere
# Kafka comes from Maven Central and the database is SecantusDB from PyPI, both kept in a cache: $TILLFLOW_CACHE, else
# $XDG_CACHE_HOME/tillflow, else ~/.cache/tillflow.
# DIR/env holds `export` lines for KAFKA_BOOTSTRAP_SERVERS, MONGO_URI and TILLFLOW_TEST_PYTHON. The ports are
# free ones, unless KAFKA_PORT or MONGO_PORT name them, and stay the same when DIR is started again.
set -euo pipefail

readonly KAFKA_VERSION=4.1.0
readonly LOG4J_VERSION=2.24.3
readonly SECANTUSDB_VERSION=0.7.0b3
readonly START_SECONDS=90
readonly STOP_SECONDS=20

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${TILLFLOW_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/tillflow}
# shellcheck source=scripts/lib.sh
. "$root/scripts/lib.sh"

# ---- what has to be on the machine ------------------------------------------------------------------------

# The interpreter that can make virtual environments.
base_python=
need_python() {
    [ -z "$base_python" ] || return 0
    if ! python3 -c 'import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
        apt python3 python3-venv
        python3 -c 'import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 9))' ||
            die "python3 (3.9 or newer, with the venv module) is needed"
    fi
    base_python=$(command -v python3)
}

java_is_new_enough() {
    local release
    release=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    [ -n "$release" ] && [ "$release" -ge 17 ]
}

need_java() {
    if ! java_is_new_enough; then
        apt default-jre-headless
        java_is_new_enough || die "java 17 or newer is needed; $(command -v java || echo 'none') is on the PATH"
    fi
}

# ---- the cache --------------------------------------------------------------------------------------------

# with_lock NAME COMMAND... : two runs that fill the cache at once would spoil it.
with_lock() {
    local name=$1
    shift
    mkdir -p "$cache"
    if command -v flock >/dev/null; then
        (
            flock -w 900 9 || die "another run has held $cache/$name.lock for 15 minutes"
            "$@"
        ) 9>"$cache/$name.lock"
    else
        "$@"
    fi
}

# fill_venv FOLDER PIP-ARGUMENTS... : made anew unless the marker says that it holds exactly this.
fill_venv() {
    local folder=$1 want
    shift
    # What is in a list counts, not where the list is: two checkouts would else fill it anew in turn, under each other's
    # running tests.
    want=$("$base_python" --version)$'\n'
    if [ "$1" = -r ]; then want+=$(cat "$2"); else want+=$*; fi
    if [ -f "$folder/complete" ] && [ "$(cat "$folder/complete")" = "$want" ] &&
        "$folder/bin/python" -c '' 2>/dev/null; then
        return 0
    fi
    say "filling $folder"
    rm -rf "$folder"
    "$base_python" -m venv "$folder" || die "python3 -m venv $folder failed"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" >&2 </dev/null ||
        die "pip could not install $* into $folder"
    printf '%s' "$want" >"$folder/complete"
}

test_python() {
    need_python
    with_lock python fill_venv "$cache/python-tests" -r "$root/tests/requirements.txt"
    printf '%s\n' "$cache/python-tests/bin/python"
}

fill_kafka() {
    local folder=$1 part=$1.part
    [ ! -d "$folder" ] || return 0
    command -v mvn >/dev/null || apt maven
    say "fetching Apache Kafka $KAFKA_VERSION into $folder"
    rm -rf "$part"
    mkdir -p "$part"
    cat >"$part/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tillflow</groupId>
  <artifactId>test-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA_VERSION</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$LOG4J_VERSION</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>$LOG4J_VERSION</version></dependency>
  </dependencies>
</project>
POM
    # --strict-checksums: a broken download must not become the cache.
    mvn -q -B --strict-checksums -f "$part/pom.xml" dependency:copy-dependencies -DoutputDirectory="$part/libs" \
        >&2 </dev/null || die "maven could not fetch Apache Kafka $KAFKA_VERSION"
    mv "$part" "$folder"
}

# ---- processes --------------------------------------------------------------------------------------------

# is_ours PIDFILE MARK : the process lives, and its command line names our folder, so that a number which the
# system has given to somebody else is never signalled.
is_ours() {
    local pid
    [ -f "$1" ] && pid=$(cat "$1") && [ -n "$pid" ] || return 1
    case "$(ps -ww -p "$pid" -o stat= -o args= 2>/dev/null)" in
        Z*) return 1 ;;
        *"$2"*) return 0 ;;
        *) return 1 ;;
    esac
}

# launch FOLDER COMMAND... : in a session of its own, so that a ^C in the terminal does not kill the services before
# the tests that still talk to them.
launch() {
    local folder=$1 detach=
    shift
    command -v setsid >/dev/null && detach=setsid
    nohup ${detach:+"$detach"} "$@" </dev/null >>"$folder/log" 2>&1 &
    printf '%s\n' "$!" >"$folder/pid"
}

stop_one() {
    local name=$1 folder=$2 pid waited=0
    if is_ours "$folder/pid" "$folder"; then
        pid=$(cat "$folder/pid")
        kill -TERM "$pid" 2>/dev/null || true
        while is_ours "$folder/pid" "$folder"; do
            if [ "$waited" -ge $((STOP_SECONDS * 10)) ]; then
                say "$name did not stop within $STOP_SECONDS s: killed"
                kill -KILL "$pid" 2>/dev/null || true
                break
            fi
            sleep 0.1
            waited=$((waited + 1))
        done
    fi
    rm -f "$folder/pid"
}

# The end of a server's log without the stack traces.
show_log() { grep -v '^[[:space:]]*at ' "$1/log" | tail -n 15 >&2 || true; }

# wait_for NAME FOLDER PROBE... : until the probe succeeds; a server that ended, or never answers, ends us too.
wait_for() {
    local name=$1 folder=$2 deadline=$((SECONDS + START_SECONDS))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! is_ours "$folder/pid" "$folder"; then
            show_log "$folder"
            die "$name ended while it started; its log is $folder/log"
        fi
        if [ "$SECONDS" -ge "$deadline" ]; then
            show_log "$folder"
            die "$name did not answer within $START_SECONDS s; its log is $folder/log"
        fi
        sleep 0.2
    done
}

# ---- the two servers --------------------------------------------------------------------------------------

# choose_ports FILE : three ports that are free now; written down, because a Kafka controller keeps its own in its data.
# They lie below the ports that systems hand out to clients, so that no connection takes one before the server does.
choose_ports() {
    "$base_python" - "${KAFKA_PORT:-0}" 0 "${MONGO_PORT:-0}" >"$1.part" <<'PY' || die "KAFKA_PORT or MONGO_PORT is in use"
import random, socket, sys
held = []
for wanted in map(int, sys.argv[1:]):
    for port in [wanted] if wanted else random.sample(range(20000, 32000), 200):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
        held.append(s)
        break
if len(held) < 3:
    sys.exit(1)
print(*(s.getsockname()[1] for s in held))
PY
    mv "$1.part" "$1"
}

start_kafka() {
    local folder=$1 port=$2 controller=$3 libs=$cache/kafka-$KAFKA_VERSION/libs
    mkdir -p "$folder"
    cat >"$folder/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$folder/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.partitions=3
# A missing topic has to be seen as missing.
auto.create.topics.enable=false
# Old and far future timestamps, and records beyond 1 MiB, are what the tests are about.
log.retention.ms=-1
log.message.timestamp.after.max.ms=9223372036854775807
message.max.bytes=4194304
PROPERTIES
    cat >"$folder/log4j2.properties" <<'PROPERTIES'
status=error
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=[%d] %p %m (%c)%n
PROPERTIES
    if [ ! -f "$folder/data/meta.properties" ]; then
        rm -rf "$folder/data"
        java -Xmx256m -Dlog4j2.configurationFile="$folder/log4j2.properties" -cp "$libs/*" kafka.tools.StorageTool format \
            --standalone -c "$folder/server.properties" \
            -t "$("$base_python" -c 'import base64, os; print(base64.urlsafe_b64encode(b"k" + os.urandom(15))[:22].decode())')" \
            >>"$folder/log" 2>&1 </dev/null || {
            show_log "$folder"
            die "Kafka could not format $folder/data"
        }
    fi
    launch "$folder" java -Xms256m -Xmx512m -Dlog4j2.configurationFile="$folder/log4j2.properties" \
        -cp "$libs/*" kafka.Kafka "$folder/server.properties"
}

start_mongo() {
    local folder=$1 port=$2
    mkdir -p "$folder"
    # An empty settings file, or the server would take one that lies about in the working or home folder.
    : >"$folder/secantusd.toml"
    launch "$folder" "$cache/secantusdb-$SECANTUSDB_VERSION/bin/python" "$cache/secantusdb-$SECANTUSDB_VERSION/bin/secantusd-py" \
        --config "$folder/secantusd.toml" --host 127.0.0.1 --port "$port" --storage-path "$folder/data" \
        --log-level WARNING --sync-on-commit --enable-test-commands
}

kafka_answers() {
    "$1" - "$2" <<'PY'
import sys
from confluent_kafka.admin import AdminClient
admin = AdminClient({"bootstrap.servers": sys.argv[1], "log_level": 0})
sys.exit(not admin.list_topics(timeout=2).brokers)
PY
}

mongo_answers() {
    "$1" - "$2" <<'PY'
import sys
from pymongo import MongoClient
MongoClient(sys.argv[1], serverSelectionTimeoutMS=1000).admin.command("ping")
PY
}

# ---- Docker -----------------------------------------------------------------------------------------------

# The client alone is not enough: an engine has to answer.
docker_runs() { docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; }

# compose DIR ARGUMENTS... : a project of this folder's own, so that neither the user's containers nor their volumes
# are ever touched; no .env, so that the user's settings stay out of the tests.
compose() {
    local project
    project=tillflow-test-$(printf '%s' "$1" | cksum | cut -d ' ' -f 1)
    shift
    docker compose --project-name "$project" --env-file /dev/null --file "$root/docker-compose.yml" "$@" >&2 </dev/null
}

# ---- the commands -----------------------------------------------------------------------------------------

# write_env DIR KAFKA_PORT MONGO_PORT PYTHON : whole or not at all.
write_env() {
    {
        printf "export KAFKA_BOOTSTRAP_SERVERS='%s'\n" "127.0.0.1:$2"
        # Whatever name the replica set has for its member, the address above is the one to use.
        printf "export MONGO_URI='%s'\n" "mongodb://127.0.0.1:$3/?directConnection=true"
        printf 'export TILLFLOW_TEST_PYTHON=%q\n' "$4"
    } >"$1/env.part"
    mv "$1/env.part" "$1/env"
}

start() {
    local mode=$1 dir python kafka_port controller_port mongo_port
    mkdir -p "$2"
    dir=$(cd "$2" && pwd -P)
    need_python
    python=$(test_python)
    stop "$dir"
    [ -s "$dir/ports" ] || choose_ports "$dir/ports"
    read -r kafka_port controller_port mongo_port <"$dir/ports"

    # What cannot be started completely is not left half running.
    started_dir=$dir
    trap 'stop "$started_dir"' EXIT
    if [ "$mode" = any ] && docker_runs; then
        say "starting kafka and mongo of docker-compose.yml"
        : >"$dir/docker"
        TILLFLOW_KAFKA_PORT=$kafka_port TILLFLOW_MONGO_PORT=$mongo_port compose "$dir" up -d --wait kafka mongo ||
            die "docker compose could not start kafka and mongo"
        # Healthy inside their network is not yet reachable from here.
        servers_answer "$python" "127.0.0.1:$kafka_port" "mongodb://127.0.0.1:$mongo_port/?directConnection=true"
    else
        need_java
        with_lock kafka fill_kafka "$cache/kafka-$KAFKA_VERSION"
        with_lock secantusdb fill_venv "$cache/secantusdb-$SECANTUSDB_VERSION" "secantusdb==$SECANTUSDB_VERSION"
        start_kafka "$dir/kafka" "$kafka_port" "$controller_port"
        start_mongo "$dir/mongo" "$mongo_port"
        wait_for "the MongoDB server" "$dir/mongo" mongo_answers "$python" "mongodb://127.0.0.1:$mongo_port/?directConnection=true"
        wait_for Kafka "$dir/kafka" kafka_answers "$python" "127.0.0.1:$kafka_port"
    fi
    trap - EXIT

    write_env "$dir" "$kafka_port" "$mongo_port" "$python"
    say "Kafka on 127.0.0.1:$kafka_port, MongoDB on 127.0.0.1:$mongo_port; use them with: . $dir/env"
}

# one NAME DIR : for tests that take a server away and bring it back, on the same port and data.
one() {
    local name=$1 dir python kafka_port controller_port mongo_port
    mkdir -p "$2"
    dir=$(cd "$2" && pwd -P)
    need_python
    need_ps
    python=$(test_python)
    [ -s "$dir/ports" ] || choose_ports "$dir/ports"
    read -r kafka_port controller_port mongo_port <"$dir/ports"
    if [ "$name" = kafka ]; then
        need_java
        with_lock kafka fill_kafka "$cache/kafka-$KAFKA_VERSION"
        stop_one Kafka "$dir/kafka"
        start_kafka "$dir/kafka" "$kafka_port" "$controller_port"
        wait_for Kafka "$dir/kafka" kafka_answers "$python" "127.0.0.1:$kafka_port"
        printf '127.0.0.1:%s\n' "$kafka_port"
    else
        with_lock secantusdb fill_venv "$cache/secantusdb-$SECANTUSDB_VERSION" "secantusdb==$SECANTUSDB_VERSION"
        stop_one "the MongoDB server" "$dir/mongo"
        start_mongo "$dir/mongo" "$mongo_port"
        wait_for "the MongoDB server" "$dir/mongo" mongo_answers "$python" "mongodb://127.0.0.1:$mongo_port/?directConnection=true"
        printf '127.0.0.1:%s\n' "$mongo_port"
    fi
}

stop() {
    local dir
    [ -d "$1" ] || return 0
    need_ps
    dir=$(cd "$1" && pwd -P)
    rm -f "$dir/env"
    if [ -f "$dir/docker" ]; then
        compose "$dir" down --volumes --remove-orphans || die "docker compose could not stop the containers of $dir"
        rm -f "$dir/docker"
    fi
    stop_one Kafka "$dir/kafka"
    stop_one "the MongoDB server" "$dir/mongo"
}

# servers_answer PYTHON BOOTSTRAP-SERVERS MONGO-URI
servers_answer() {
    kafka_answers "$1" "$2" 2>/dev/null || die "no Kafka broker answers at $2"
    # The address may hold a password: it is not repeated.
    mongo_answers "$1" "$3" 2>/dev/null || die "no MongoDB server answers at the address in MONGO_URI"
}

check() {
    [ -n "${KAFKA_BOOTSTRAP_SERVERS:-}" ] || die "KAFKA_BOOTSTRAP_SERVERS is not set"
    [ -n "${MONGO_URI:-}" ] || die "MONGO_URI is not set"
    servers_answer "$(test_python)" "$KAFKA_BOOTSTRAP_SERVERS" "$MONGO_URI"
}

case "${1:-} $#" in
    "start 2") start any "$2" ;;
    "start 3") [ "$2" = --local ] || die "unknown option $2"; start local "$3" ;;
    "one 3") case "$2" in kafka | mongo) one "$2" "$3" ;; *) die "$2 is neither kafka nor mongo" ;; esac ;;
    "stop 2") stop "$2" ;;
    "check 1") check ;;
    "python 1") test_python ;;
    *)
        sed -n '2,/^set -/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//' >&2
        exit 2
        ;;
esac
