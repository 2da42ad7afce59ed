"""The images, the compose file and the Kubernetes manifest: each step by hand, the rules, and that they name what exists.

No container is started: where namespaces may be made, the image's steps are run in a view of this machine's file system, and the service
as a container would run it, as an ordinary user on a read-only file system.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from dockerfiles import broken_rules, by_hand, chain, instructions, stages
from packaging.requirements import Requirement

from annotriage.cli import main
from annotriage.settings import ServiceSettings

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text("utf-8")
COMPOSE = (DOCKER / "compose.yaml").read_text("utf-8")
ARGUMENTS = [step for step in instructions(DOCKERFILE) if step.word == "ARG"]
RUNTIMES = ("onnx", "onnx-cuda", "torch", "torch-cuda")
# Of the compose specification, what a service may say that ours do.
SERVICE_KEYS = {
    *("build", "cap_drop", "command", "depends_on", "environment", "expose", "healthcheck", "image", "networks", "ports", "read_only"),
    *("restart", "security_opt", "stop_grace_period", "tmpfs", "volumes"),
}
CHECK_KEYS = {"test", "interval", "timeout", "start_period", "retries"}
TRY = """
export ANNOTRIAGE_LABEL_STUDIO_TOKEN=unused
sh -c "exec $START" 2>/tmp/log & service=$!
for _ in $(seq 600); do sh -c "$HEALTH" 2>/dev/null && break; kill -0 $service || { cat /tmp/log; exit 1; }; sleep 0.1; done
sh -c "$HEALTH"
id -u; grep CapEff /proc/self/status; touch /nowhere 2>/dev/null && echo writable
annotriage status
kill -TERM $service; wait $service; echo "ended $?"
"""


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(COMPOSE)["services"]


@pytest.fixture(scope="module")
def image():
    """The instructions of the image itself, the last stage: (word, rest), in order."""
    return [(step.word, step.rest) for step in stages(DOCKERFILE)[-1].steps]


@pytest.fixture(scope="module")
def manifest():
    """The objects of the Kubernetes manifest by their kinds."""
    return {found["kind"]: found for found in yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text("utf-8"))}


def environment(image):
    words = [word for name, rest in image if name == "ENV" for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


def ours(variables):
    """Annotriage's own settings, with something in the place of secrets."""
    return {name: re.sub(r"\$\{[^}]*\}", "secret", text) for name, text in variables.items() if name.startswith("ANNOTRIAGE_")}


def last(image, word):
    return [rest for name, rest in image if name == word][-1]


# -- the images


def test_the_image_is_built_from_files_that_are_sent_to_the_build():
    sent = [line.removeprefix("!") for line in (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    copies = [step.rest for step in instructions(DOCKERFILE) if step.word == "COPY" and "--from" not in step.rest]
    copied = [path for rest in copies for path in rest.split()[:-1]]
    assert {*copied} == {*sent}
    assert all((ROOT / path).exists() for path in copied)


def test_each_step_of_the_image_for_torch_runs_by_hand_and_it_serves_as_an_ordinary_user_on_a_read_only_file_system(tmp_path):
    """The one whose steps take a build argument, at its default; what pip would fetch is here already."""
    fetched = [sysconfig.get_path("purelib")]
    script = by_hand(DOCKERFILE, "torch", ROOT, str(Path(sys._base_executable).resolve()), fetched, TRY)
    may = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True) if Path("/usr/bin/unshare").exists() else None
    if may is None or may.returncode:
        pytest.skip("no namespaces may be made here (unshare, as root)")
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, said
    assert "10001\nCapEff:\t0000000000000000\n" in done.stdout, said
    assert "writable" not in done.stdout
    assert "No project is connected" in done.stdout, said
    assert done.stdout.endswith("ended 0\n"), said


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_image_is_built_of_stages_that_are_there_and_installs_what_is_pinned(runtime):
    names = {stage.name: stage for stage in stages(DOCKERFILE)}
    pinned = {
        line.partition("==")[0].partition("[")[0].lower() for line in (ROOT / ".ci" / "constraints.txt").read_text("utf-8").split("\n")
    }
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert f"#   {runtime} " in DOCKERFILE, "said at the head"
    stage = names[f"build-{runtime}"]
    words = [word for step in stage.steps for command in step.commands for word in shlex.split(command)]
    assert words
    for word in (word for word in words if word.startswith((".[", "onnxruntime-gpu["))):
        named = Requirement(f"annotriage{word[1:]}" if word.startswith(".[") else word)
        wanted = (
            [Requirement(text).name for extra in named.extras for text in extras[extra]] if named.name == "annotriage" else [named.name]
        )
        assert {name.lower() for name in wanted} <= pinned
    image = chain(DOCKERFILE, "", runtime)
    assert chain(DOCKERFILE, stage.name, runtime)[0].base == image[0].base, "the environment's Python is the image's"
    variables = environment([(step.word, step.rest) for stage in image for step in stage.steps])
    assert any(name.startswith("NVIDIA_") for name in variables) == runtime.endswith("-cuda")


def test_the_dockerfile_keeps_to_the_rules():
    assert broken_rules(DOCKERFILE) == set()


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ("DL3000", "WORKDIR here"),
        ("DL3001", "RUN mount /x"),
        ("DL3002", "USER root"),
        ("DL3003", "RUN cd /x && make"),
        ("DL3004", "RUN sudo make"),
        ("DL3004", "RUN A=1 sudo make"),
        ("DL3006", "FROM python"),
        ("DL3007", "FROM python:latest"),
        ("DL3008", "RUN apt-get install -y --no-install-recommends curl"),
        ("DL3009", "RUN apt-get update"),
        ("DL3011", "EXPOSE 80000"),
        ("DL3013", "RUN pip install --no-cache-dir flask"),
        ("DL3013", 'RUN A=1 B="${C}" pip install --no-cache-dir flask'),
        ("DL3014", "RUN apt-get install --no-install-recommends curl=1"),
        ("DL3015", "RUN apt-get install -y curl=1"),
        ("DL3020", "ADD a /b"),
        ("DL3021", "COPY a b /c"),
        ("DL3022", "COPY --from=nobody /a /b"),
        ("DL3024", "FROM python:3 AS one"),
        ("DL3025", "CMD serve"),
        ("DL3027", "RUN apt install curl"),
        ("DL3042", "RUN pip install flask==3"),
        ("DL3042", 'RUN A="${B}" pip install flask==3'),
        ("DL3044", "ENV A=1 B=$A"),
        ("DL3045", "COPY a b"),
        ("DL3046", "RUN useradd --uid 100001 me"),
        ("DL4000", "MAINTAINER me"),
        ("DL4003", 'CMD ["a"]\nCMD ["b"]'),
        ("DL4004", 'ENTRYPOINT ["a"]\nENTRYPOINT ["b"]'),
        ("DL4006", "RUN a | b"),
    ],
)
def test_each_rule_finds_what_breaks_it(rule, lines):
    before = "FROM python:3 AS one\n"
    assert rule not in broken_rules(f"{before}USER 1")
    after = "" if rule == "DL3002" else "\nUSER 1"
    assert rule in broken_rules(f"{before}{lines}{after}")
    assert rule not in broken_rules(f"{before}# hadolint ignore={rule}\n{lines}\nUSER 1") or "\n" in lines


def test_the_image_runs_the_service_by_a_number_that_is_not_roots(image):
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last(image, "USER"))
    command = [*json.loads(last(image, "ENTRYPOINT")), *json.loads(last(image, "CMD"))]
    assert command[0] == "annotriage"
    assert command[1] in main.commands


# -- the compose file


def test_the_settings_in_the_image_and_in_the_compose_file_are_understood(image, services):
    variables = ours(environment(image)) | ours(services["annotriage"]["environment"])
    settings = ServiceSettings.load(None, variables)
    assert settings.label_studio_url == "http://label-studio:8080"
    assert settings.database == "postgresql://annotriage:secret@postgres/annotriage"
    assert settings.host == "0.0.0.0"


def test_the_compose_file_says_nothing_that_no_engine_knows(services):
    whole = yaml.safe_load(COMPOSE)
    assert set(whole) == {"name", "services", "networks", "volumes"}
    for name, service in services.items():
        assert set(service) <= SERVICE_KEYS, name
        assert ("image" in service) != ("build" in service)
        assert set(service.get("healthcheck", {})) <= CHECK_KEYS
        kept = [place.partition(":")[0] for place in service.get("volumes", ())]
        assert {place for place in kept if not place.startswith((".", "$"))} <= set(whole["volumes"])
        assert all((DOCKER / place).exists() for place in kept if place.startswith("./"))


def test_the_ports_agree(image, services):
    settings = ServiceSettings.load(None, ours(environment(image)) | ours(services["annotriage"]["environment"]))
    port = f"{settings.port}"
    assert last(image, "EXPOSE") == port
    assert f"127.0.0.1:{port}/health" in last(image, "HEALTHCHECK")
    assert services["annotriage"]["expose"] == [port]
    assert settings.service_url == f"http://balancer:{port}"
    assert services["balancer"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert services["label-studio"]["ports"] == ["127.0.0.1:8080:8080"]


def test_any_number_of_replicas_may_run_behind_the_balancer(services):
    replica = services["annotriage"]
    assert "ports" not in replica, "two cannot have one port of the machine"
    assert "container_name" not in replica
    assert replica["read_only"] is True
    assert replica["cap_drop"] == ["ALL"]
    assert replica["security_opt"] == ["no-new-privileges:true"]
    assert [place.partition(":")[0] for place in replica["tmpfs"]] == ["/tmp"]
    assert all(place.endswith(":ro") for place in replica["volumes"]), "nothing that a replica writes is on a disk that others need"


def test_the_balancer_hands_requests_to_those_that_are_ready_and_is_believed_where_they_come_from(services):
    config = (DOCKER / "haproxy.cfg").read_text("utf-8")
    assert "./haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro" in services["balancer"]["volumes"]
    assert re.search(r"server-template \S+ \d+ annotriage:9090 check .*resolvers docker", config)
    assert "option httpchk GET /health/ready" in config
    assert "retry-on conn-failure\n" in config, "what a replica has begun is asked of no other one"
    assert "http-request del-header X-Forwarded-User" in config, "or anybody could be anybody"
    assert "http-request del-header X-Forwarded-Host" in config
    assert "http-request set-header X-Forwarded-For %[src]" in config
    assert "http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]" in config
    address = services["balancer"]["networks"]["default"]["ipv4_address"]
    assert services["annotriage"]["environment"]["ANNOTRIAGE_TRUSTED_PROXY"] == address
    longest = re.search(r"timeout server (\d+)s", config)
    fields = {field.name: field for field in ServiceSettings.__dataclass_fields__.values()}
    assert int(longest.group(1)) > fields["predict_seconds"].metadata["high"]


def test_services_wait_for_those_that_they_need_to_be_healthy(services):
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in services[name] or name == "annotriage"  # whose image has its own


def test_the_label_studio_is_the_one_that_the_tests_run(services):
    constraints = (ROOT / ".ci" / "constraints-label-studio.txt").read_text("utf-8")
    version = services["label-studio"]["image"].partition(":")[2]
    assert f"label-studio=={version}" in constraints.splitlines()


def test_both_databases_are_there(services):
    variables = services["postgres"]["environment"]
    assert services["label-studio"]["environment"]["POSTGRE_NAME"] in (DOCKER / "label-studio.sql").read_text("utf-8")
    assert services["label-studio"]["environment"]["POSTGRE_USER"] == variables["POSTGRES_USER"] == "annotriage"
    assert variables["POSTGRES_DB"] == "annotriage"
    assert "./label-studio.sql" in {place.split(":")[0] for place in services["postgres"]["volumes"]}


def test_every_variable_is_explained_and_no_secret_has_a_default(services):
    named = set(re.findall(r"^#   ([A-Z_]+)=", COMPOSE, re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE)) == named
    assert set(re.findall(r"\$\{([A-Z_]+):-", COMPOSE)) == {"REFERENCES", "RUNTIME", "TORCH_INDEX"}
    assert "RUNTIME in .env" in COMPOSE
    assert services["annotriage"]["build"]["args"] == {"RUNTIME": f"${{RUNTIME:-{RUNTIMES[0]}}}", "TORCH_INDEX": "${TORCH_INDEX:-}"}
    assert {step.rest.partition("=")[0] for step in ARGUMENTS} == set(services["annotriage"]["build"]["args"]), "all can be given"


def test_the_compose_file_with_its_lines_for_gpus_gives_them_to_the_service():
    whole = yaml.safe_load(COMPOSE.replace("    # gpus: all", "    gpus: all"))
    assert whole["services"]["annotriage"]["gpus"] == "all"


# -- Kubernetes


def test_the_manifest_is_what_kubernetes_takes(manifest):
    assert set(manifest) == {"ConfigMap", "ServiceAccount", "Deployment", "Service", "PodDisruptionBudget"}
    for found in manifest.values():
        kubernetes_validate.validate(found, "1.31", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest["Service"] | {"replicas": 3}, "1.31", strict=True)


def test_the_manifest_with_its_lines_for_gpus_is_taken_too():
    text = (DOCKER / "kubernetes.yaml").read_text("utf-8")
    changed = re.sub(r"^ *limits:.*\n( *# With a CUDA image.*\n *)# (limits: .*)", r"\1\n            \2", text, flags=re.MULTILINE)
    (deployment,) = [found for found in yaml.safe_load_all(changed) if found["kind"] == "Deployment"]
    kubernetes_validate.validate(deployment, "1.31", strict=True)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "4Gi", "nvidia.com/gpu": 1}


def test_the_manifest_says_how_many_connections_its_replicas_may_hold_while_a_new_version_is_rolled_out(manifest):
    spec = manifest["Deployment"]["spec"]
    replicas = spec["replicas"] + spec["strategy"]["rollingUpdate"]["maxSurge"]
    text = (DOCKER / "kubernetes.yaml").read_text("utf-8")
    assert f"max_connections of at least 90 x (replicas + 1), here {90 * replicas}" in text


def test_the_manifest_runs_the_image_as_it_is_made(manifest, image):
    pod = manifest["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    user, _, group = last(image, "USER").partition(":")
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (int(user), int(group))
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {place["mountPath"] for place in container["volumeMounts"]} == {"/tmp", last(image, "VOLUME")}
    assert {place["name"] for place in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert container["ports"] == [{"name": "http", "containerPort": int(last(image, "EXPOSE"))}]
    probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/health/ready"}
    assert manifest["Service"]["spec"]["ports"][0]["targetPort"] == "http"


def test_the_manifest_selects_its_own_pods_names_settings_that_are_understood_and_holds_no_secret(manifest, image):
    labels = manifest["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert labels == manifest["Service"]["spec"]["selector"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert manifest[kind]["spec"]["selector"]["matchLabels"] == labels
    text = (DOCKER / "kubernetes.yaml").read_text("utf-8")
    secret = dict(re.findall(r"--from-literal=(ANNOTRIAGE_\w+)=(\S+)", text))
    settings = ServiceSettings.load(None, ours(environment(image)) | manifest["ConfigMap"]["data"] | secret)
    assert settings.database.startswith("postgresql://")
    assert settings.service_url == f"http://{manifest['Service']['metadata']['name']}:{settings.port}"
    assert not set(secret) & set(manifest["ConfigMap"]["data"])
    (container,) = manifest["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": "annotriage"}}, {"secretRef": {"name": "annotriage"}}]
    grace = manifest["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= 5 + 20, "what preStop waits, and the time in which what is being judged is given back"
