"""Holds docker-compose.yml, .env.example and the Dockerfile to what the README promises about them.

No container engine is needed. The rules are tried on spoilt copies first: a rule that finds nothing wrong in them
fails the run as well.
"""

import copy
import http.server
import pathlib
import re
import socket
import subprocess
import sys
import threading

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The environment names of the program and their defaults.
DEFAULTS = {
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "KAFKA_GROUP_ID": "data_processor_group",
    "MONGO_URI": "mongodb://localhost:27017/",
    "MONGO_DATABASE": "kafka_pipeline",
    "DASHBOARD_REFRESH_INTERVAL": "30",
}
# Inside the compose network the two servers have other addresses.
INSIDE = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:19092",
    "MONGO_URI": "mongodb://mongo:27017/?directConnection=true",
}
# Service -> the port that users find on this machine.
PORTS = {"kafka": 9092, "mongo": 27017, "kafka-ui": 8081, "tillflow": 8501}
COMMANDS = {"init": "init", "tillflow": "run", "generate": "generate"}


def resolved(value):
    """The text as compose reads it where the user has set nothing."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))


def compose_problems(compose):
    """Everything that is wrong, as sentences."""
    found = []

    def hold(truth, sentence):
        if not truth:
            found.append(sentence)

    hold("version" not in compose, "the obsolete key `version` is given")
    services = compose["services"]
    volumes = set(compose.get("volumes") or {})
    published = {}
    for name, service in services.items():
        image = service.get("image", "")
        hold(re.search(r":[\w.-]+$", image) and not image.endswith(":latest"), f"{name}: the image has no tag that stays")
        hold(service.get("init") is True, f"{name}: no `init: true`")
        hold(service.get("stop_grace_period") == "30s", f"{name}: stop_grace_period is not 30s")
        hold(service.get("user") not in ("root", "0", 0), f"{name}: runs as root")
        hold(not service.get("privileged") and "network_mode" not in service, f"{name}: has the host's rights or network")
        if service.get("restart") == "unless-stopped":
            test = (service.get("healthcheck") or {}).get("test") or []
            hold(test and test[0] in ("CMD", "CMD-SHELL") and len(test) > 1, f"{name}: runs for ever without a health check")
        else:
            hold(not service.get("ports"), f"{name}: publishes a port and may be gone")
        for port in service.get("ports", []):
            match = re.fullmatch(r"127\.0\.0\.1:(\d+):(\d+)", resolved(port))
            hold(match, f"{name}: {port} is published beyond this machine")
            if match:
                published[name] = int(match[1])
        for volume in service.get("volumes", []):
            hold(str(volume).split(":")[0] in volumes, f"{name}: {volume} is no named volume")
        for other, how in (service.get("depends_on") or {}).items():
            target = services.get(other, {})
            once = target.get("restart") == "no"
            want = "service_completed_successfully" if once else "service_healthy"
            hold(how.get("condition") == want, f"{name}: waits for {other} otherwise than with {want}")
    hold(published == PORTS, f"published are {published}, not {PORTS}")

    for name, command in COMMANDS.items():
        service = services.get(name, {})
        hold((service.get("command") or [None])[0] == command, f"{name}: does not run `tillflow {command}`")
        hold(service.get("read_only") is True and service.get("cap_drop") == ["ALL"], f"{name}: has more rights than it needs")
        hold("build" in service, f"{name}: the image cannot be built")
        given = {key: resolved(value) for key, value in (service.get("environment") or {}).items()}
        hold(given == DEFAULTS | INSIDE, f"{name}: its environment is {given}")
    # `up --wait` takes a service that has ended for a failure, unless another one waits for its end.
    hold("init" in (services.get("tillflow", {}).get("depends_on") or {}), "tillflow: does not wait for init")
    hold(services.get("generate", {}).get("profiles") == ["demo-data"], "generate: starts without being asked for")

    listen = services.get("tillflow", {}).get("command") or []
    hold(listen[-2:] == ["--listen", "0.0.0.0:8501"], "tillflow: cannot be reached from outside its container")

    kafka = {key: resolved(value) for key, value in services.get("kafka", {}).get("environment", {}).items()}
    advertised = kafka.get("KAFKA_ADVERTISED_LISTENERS", "").split(",")
    hold(f"PLAINTEXT_HOST://127.0.0.1:{PORTS['kafka']}" in advertised, "kafka: advertises no address for this machine")
    hold(f"PLAINTEXT://{INSIDE['KAFKA_BOOTSTRAP_SERVERS']}" in advertised, "kafka: advertises no address for the containers")
    hold(kafka.get("KAFKA_AUTO_CREATE_TOPICS_ENABLE") == "false", "kafka: makes topics by itself")
    hold("--replSet" in services.get("mongo", {}).get("command", []), "mongo: is no replica set, so has no transactions")
    return found


def spoilt(compose):
    """(what was done, the spoilt copy) for every kind of fault that must not pass."""

    def change(what, edit):
        other = copy.deepcopy(compose)
        edit(other, other["services"])
        return what, other

    def put(service, key, value):
        return lambda _, services: services[service].__setitem__(key, value)

    def drop(service, key):
        return lambda _, services: services[service].pop(key)

    yield change("version key", lambda top, _: top.__setitem__("version", "3"))
    yield change("port on every address", put("kafka-ui", "ports", ["8081:8080"]))
    yield change("port on 0.0.0.0", put("tillflow", "ports", ["0.0.0.0:8501:8501"]))
    yield change("another port", put("mongo", "ports", ["127.0.0.1:27018:27017"]))
    for name in PORTS:
        yield change(f"{name} without health check", drop(name, "healthcheck"))
    yield change("disabled health check", put("mongo", "healthcheck", {"disable": True}))
    yield change("latest image", put("kafka", "image", "apache/kafka:latest"))
    yield change("image without tag", put("mongo", "image", "mongo"))
    yield change("no init process", drop("tillflow", "init"))
    yield change("short grace", put("tillflow", "stop_grace_period", "1s"))
    yield change("root", put("tillflow", "user", "root"))
    yield change("bind mount", put("kafka", "volumes", ["./data:/var/lib/kafka/data"]))
    yield change("init not waited for", lambda _, services: services["tillflow"]["depends_on"].pop("init"))
    yield change("kafka merely started", lambda _, s: s["init"]["depends_on"]["kafka"].update(condition="service_started"))
    yield change("loopback inside", put("tillflow", "command", ["run"]))
    yield change("another database", lambda _, s: s["tillflow"].update(environment={**s["tillflow"]["environment"], "MONGO_DATABASE": "x"}))
    yield change("no replica set", put("mongo", "command", ["mongod", "--bind_ip_all"]))
    yield change("generator always on", drop("generate", "profiles"))


def env_problems(text):
    given = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return [] if given == DEFAULTS else [f".env.example gives {given}, not {DEFAULTS}"]


def image_problems(text):
    found = []
    last = text[text.rindex("\nFROM ") :]
    users = re.findall(r"^USER (\S+)", last, re.M)
    if not users or users[-1].split(":")[0] in ("root", "0"):
        found.append("Dockerfile: the image runs as root")
    if "--locked" not in text:
        found.append("Dockerfile: the build may take other versions than Cargo.lock's")
    if "WORKDIR /var/lib/tillflow" not in last:
        found.append("Dockerfile: the state is not kept in the volume")
    return found


class StandIn(http.server.BaseHTTPRequestHandler):
    """Answers /healthz with the status that the server is given."""

    def do_GET(self):
        self.send_response(self.server.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


def probe_problems(compose):
    """Runs tillflow's health check against a stand-in that is well, one that is not, and none."""
    test = compose["services"]["tillflow"]["healthcheck"]["test"]
    assert test[:3] == ["CMD", "bash", "-c"], test
    found = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.socket() as unused:
        # Bound but not listening: a connection is refused.
        unused.bind(("127.0.0.1", 0))
        cases = [(server.server_port, 200, True), (server.server_port, 503, False), (unused.getsockname()[1], None, False)]
        for port, status, well in cases:
            server.status = status
            script = test[3].replace("$$", "$").replace("/8501", f"/{port}")
            done = subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
            if (done.returncode == 0) != well:
                found.append(f"tillflow: the health check ends with {done.returncode} where the answer is {status}: {done.stderr}")
    server.shutdown()
    return found


def main():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    env = (ROOT / ".env.example").read_text()
    image = (ROOT / "Dockerfile").read_text()
    found = compose_problems(compose) + env_problems(env) + image_problems(image) + probe_problems(compose)
    tried = 0
    for what, other in spoilt(compose):
        tried += 1
        if not compose_problems(other):
            found.append(f"this check does not see: {what}")
    if not env_problems(env.replace("=30", "=31")) or not env_problems(env + "OTHER=1\n"):
        found.append("this check does not see a wrong .env.example")
    if not image_problems(re.sub(r"(?m)^USER .*\n", "", image)):
        found.append("this check does not see an image of root's")
    for sentence in found:
        print(f"tests/compose: {sentence}", file=sys.stderr)
    if found:
        sys.exit(1)
    print(f"tests/compose: the compose file, its probes, .env.example and the Dockerfile hold ({tried} spoilt copies seen)")


if __name__ == "__main__":
    main()
