"""What deploy/ offers for containers fits together, grants nothing that is not needed, and fits the program."""

import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from aggregator.config import BROKER_PASSWORD, INFLUX_TOKEN, AggregatorConfig, load
from aggregator.metrics import Metrics
from models.contract.config_errors import ConfigError
from tocsin.cli import build

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "kubernetes"
CONTAINERFILE = (ROOT / "deploy" / "Containerfile.aggregator").read_text(encoding="utf-8")
KINDS = {
    "ConfigMap",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Namespace",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
    "ServiceAccount",
}


@cache
def manifests() -> dict[str, Any]:
    found = [one for path in sorted(FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]
    assert len({one["kind"] for one in found}) == len(found)
    return {one["kind"]: one for one in found}


def pod() -> Any:
    return manifests()["Deployment"]["spec"]["template"]["spec"]


def container() -> Any:
    (only,) = pod()["containers"]
    return only


def configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ConfigMap's file with what the pod mounts, in a folder that stands for the pod's root."""
    for variable in (BROKER_PASSWORD, INFLUX_TOKEN):
        monkeypatch.delenv(variable, raising=False)
    text = manifests()["ConfigMap"]["data"]["aggregator.toml"]
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    for mount in container()["volumeMounts"]:
        for item in volumes[mount["name"]].get("secret", {}).get("items", ()):
            path = folder / mount["mountPath"].lstrip("/") / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"what {item['key']} holds")
    place: str = next(mount["mountPath"] for mount in container()["volumeMounts"] if "subPath" in mount)
    config = folder / place.lstrip("/")
    config.write_text(re.sub(r'"(/etc/tocsin/[^"]*)"', lambda found: json.dumps(f"{folder}{found[1]}"), text))
    return config


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AggregatorConfig:
    return load(configuration(folder, monkeypatch))


def test_all_parts_are_there_in_one_namespace_and_under_one_name() -> None:
    assert set(manifests()) == KINDS
    for kind, one in manifests().items():
        if kind == "Namespace":
            assert one["metadata"]["name"] == "tocsin"
        else:
            assert (one["metadata"]["namespace"], one["metadata"]["name"]) == ("tocsin", "tocsin-aggregator"), kind


def test_every_selector_means_the_pods_of_the_deployment() -> None:
    labels = manifests()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        manifests()["Deployment"]["spec"]["selector"]["matchLabels"],
        manifests()["Service"]["spec"]["selector"],
        manifests()["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        manifests()["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(one["labelSelector"]["matchLabels"] for one in pod()["topologySpreadConstraints"]),
    ]
    assert all(selector == labels for selector in selectors)
    target = manifests()["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    deployment = manifests()["Deployment"]
    assert target == {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
    }
    assert "replicas" not in deployment["spec"], "each apply would undo the autoscaler's work"


def test_the_pod_has_no_right_that_it_does_not_need() -> None:
    assert pod()["automountServiceAccountToken"] is False
    assert manifests()["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod()["serviceAccountName"] == manifests()["ServiceAccount"]["metadata"]["name"]
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["runAsUser"] > 0
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "privileged": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod().keys()
    assert not any("hostPath" in volume for volume in pod()["volumes"])
    assert manifests()["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_configuration_is_sound_and_its_secrets_are_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = loaded(tmp_path, monkeypatch)
    assert config.broker.password() == "what broker.password holds"
    assert config.store.kind == "influx2"
    assert config.store.token() == "what influx.token holds"
    assert config.broker.client_id is None, "two pods with one client id throw each other out"


@pytest.mark.parametrize("name", ["broker.password", "influx.token", "ca.crt"])
def test_a_secret_that_is_not_mounted_is_named_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    config = configuration(tmp_path, monkeypatch)
    (tmp_path / "etc/tocsin/secret" / name).unlink()
    with pytest.raises(ConfigError, match=name):
        load(config)


def test_probes_and_scrapes_go_to_where_the_configuration_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = loaded(tmp_path, monkeypatch).metrics
    assert metrics.host == "0.0.0.0"  # noqa: S104 - in a pod of its own, behind the network policy
    (port,) = container()["ports"]
    assert (port["name"], port["containerPort"]) == ("status", metrics.port)
    probes = {kind: container()[f"{kind}Probe"]["httpGet"] for kind in ("liveness", "readiness", "startup")}
    assert probes == {
        "liveness": {"path": "/healthz", "port": "status"},
        "readiness": {"path": "/readyz", "port": "status"},
        "startup": {"path": "/healthz", "port": "status"},
    }
    annotations = manifests()["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(metrics.port)
    assert manifests()["Service"]["spec"]["ports"] == [{"name": "status", "port": metrics.port, "targetPort": "status"}]
    assert f"EXPOSE {metrics.port}" in CONTAINERFILE


def test_the_network_policy_opens_what_the_configuration_uses_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = loaded(tmp_path, monkeypatch)
    spec = manifests()["NetworkPolicy"]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert [port["port"] for rule in spec["ingress"] for port in rule["ports"]] == [config.metrics.port]
    assert config.store.kind == "influx2"
    database = int(config.store.url.rpartition(":")[2])
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, config.broker.port, database}
    assert all(rule["ports"] for rule in (*spec["ingress"], *spec["egress"])), "a rule without ports opens all of them"


def test_the_autoscaler_asks_for_a_metric_that_there_is() -> None:
    names = {metric.name for metric in Metrics().registry.collect()}
    spec = manifests()["HorizontalPodAutoscaler"]["spec"]
    asked = [metric["pods"]["metric"]["name"] for metric in spec["metrics"] if metric["type"] == "Pods"]
    assert asked
    assert set(asked) <= names
    said = re.findall(r"tocsin_aggregator_\w+", (FOLDER / "30-autoscaler.yaml").read_text())
    assert set(said) <= names
    assert 2 <= spec["minReplicas"] <= spec["maxReplicas"]
    resource = next(metric["resource"]["name"] for metric in spec["metrics"] if metric["type"] == "Resource")
    assert resource in container()["resources"]["requests"], "a share of nothing cannot be computed"


def test_a_pod_is_given_the_time_that_an_orderly_end_takes() -> None:
    from aggregator.app import STOP_WITHIN_S

    assert pod()["terminationGracePeriodSeconds"] > STOP_WITHIN_S + 5


def test_the_container_is_no_root_and_runs_a_command_that_there_is() -> None:
    (user,) = re.findall(r"^USER (\d+):(\d+)$", CONTAINERFILE, re.MULTILINE)
    assert user == (str(pod()["securityContext"]["runAsUser"]), str(pod()["securityContext"]["runAsGroup"]))
    (entry,) = re.findall(r"^ENTRYPOINT (\[.*\])$", CONTAINERFILE, re.MULTILINE)
    program, part, name, *arguments = json.loads(entry)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert Path(program).name in scripts
    command: Any = get_command(build(part))
    assert command.commands[part].commands[name].make_context(name, list(arguments)).params["config"] == Path(
        "/etc/tocsin/aggregator.toml"
    )
    assert [mount["mountPath"] for mount in container()["volumeMounts"] if "subPath" in mount] == arguments


def test_the_container_holds_each_package_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = set(re.findall(r"^COPY (\w+) \1$", CONTAINERFILE, re.MULTILINE))
    assert copied == packages
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    (files,) = re.findall(r"^COPY (.+) \./$", CONTAINERFILE, re.MULTILINE)
    assert set(files.split()) == needed
    assert ".[aggregator]" in CONTAINERFILE


def test_no_secret_stands_in_a_file() -> None:
    assert "Secret" not in manifests()
    text = "".join(path.read_text() for path in FOLDER.glob("*.yaml"))
    created = re.findall(r"--from-file=(\S+)", text)
    volume = next(volume["secret"] for volume in pod()["volumes"] if "secret" in volume)
    assert created == [item["key"] for item in volume["items"]]
    assert f"create secret generic {volume['secretName']} " in text
