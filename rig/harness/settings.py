"""What the harness drives: the product, a lab, an upstream and a cluster. All of it can be the rig's or the real thing.

Environment (everything has the rig's value as default):

    HARNESS_ZTLAB      the program under test
    HARNESS_LAB        folder with app/, manifests/, istio/ of the lab         [the repository]
    HARNESS_INTENT     its intent                                              [rig/lab/ztlab.toml]
    HARNESS_MIRRORS    FROM=TO, separated by blanks; empty means the real upstream
    HARNESS_TARGET     arguments that name the cluster, as `--cluster ztlab` or `--context C --node docker:C`
    HARNESS_INSTALL    more arguments for `install`, as `--memory 4096 --cpus 2`
    HARNESS_WRAP       command before every offline run; the rig's enters a network namespace without a way out
    HARNESS_REBOOT     stops the node, as `minikube stop -p ztlab`; `ztlab start` brings it back. The rig starts its own again
    HARNESS_WORK       scratch folder: the lab's copy, the store, screenshots
"""

import dataclasses
import os
import pathlib
import shlex

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
REGISTRIES = ("docker.io", "registry.k8s.io", "gcr.io", "quay.io")
FILE_HOSTS = ("github.com", "dl.k8s.io", "raw.githubusercontent.com", "pypi.org", "files.pythonhosted.org")


@dataclasses.dataclass
class Settings:
    """One run's choices."""

    program: str
    lab: pathlib.Path
    intent: pathlib.Path
    mirrors: list
    target: list
    install: list
    wrap: list
    work: pathlib.Path
    on_rig: bool

    @classmethod
    def read(cls):
        """From the environment that `rig/rig env` prints and the HARNESS_ variables."""
        env = os.environ
        registry, files = env.get("RIG_REGISTRY", ""), env.get("RIG_FILES", "")
        rig_mirrors = [f"{host}=http://{registry}/{host}" for host in REGISTRIES]
        rig_mirrors += [f"https://{host}={files}/{host}" for host in FILE_HOSTS]
        socket = env.get("RIG_CONTAINERD", "")
        on_rig = "HARNESS_TARGET" not in env
        if on_rig and not socket:
            raise SystemExit("harness: no cluster: `rig/rig up`, then run me by `rig/rig exec`, or set HARNESS_TARGET")
        # /proc/PID/root/… is the node's first process: its network namespace has no default route.
        node_process = socket.split("/")[2] if socket else ""
        rig_wrap = f"nsenter --target {node_process} --net --"
        rig_target = f"--context {env.get('RIG_CONTEXT', '')} --node containerd:{socket}"
        return cls(
            program=env.get("HARNESS_ZTLAB", str(REPOSITORY / "target/debug/ztlab")),
            lab=pathlib.Path(env.get("HARNESS_LAB", REPOSITORY)),
            intent=pathlib.Path(env.get("HARNESS_INTENT", REPOSITORY / "rig/lab/ztlab.toml")),
            mirrors=env.get("HARNESS_MIRRORS", " ".join(rig_mirrors) if registry else "").split(),
            target=shlex.split(env.get("HARNESS_TARGET", rig_target)),
            install=shlex.split(env.get("HARNESS_INSTALL", "")),
            wrap=shlex.split(env.get("HARNESS_WRAP", rig_wrap if on_rig else "")),
            work=pathlib.Path(env.get("HARNESS_WORK", "/tmp/ztlab-harness")),
            on_rig=on_rig,
        )
