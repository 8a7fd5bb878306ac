"""The origin: nginx serving the set as a registry on two loopback ports, one of them slow, and counting."""

import dataclasses
import os
import pathlib
import shutil
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent.parent / "origin"
# How long a server may take to start answering, in seconds; it takes some milliseconds.
PATIENCE = 20

# Root's caches are closed to everybody else, and nginx gives up root: the prefix is mounted where nobody may look, for
# this process alone. The mount ends with it.
AS_NOBODY = """
mount -t tmpfs -o mode=755 tmpfs /mnt && mkdir /mnt/origin && mount --bind "$1" /mnt/origin &&
  mkdir -p /mnt/origin/set && mount --bind "$2" /mnt/origin/set && cd / && shift 2 &&
  exec setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all --no-new-privs "$@"
"""


@dataclasses.dataclass
class Counts:
    """What the origin was asked for in a while."""

    requests: int
    body_bytes: int


class Origin:
    """Runs from `with` to its end."""

    def __init__(self, nginx, set_folder, folder):
        self.nginx, self.set_folder, self.folder = nginx, pathlib.Path(set_folder), pathlib.Path(folder)
        self.port, self.capped_port = free_ports(2)
        self.process = None

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "run").mkdir(parents=True)
        configuration = (HERE / "nginx.conf").read_text()
        configuration = configuration.replace("CAPPED_PORT", str(self.capped_port)).replace("PORT", str(self.port))
        (self.folder / "nginx.conf").write_text(configuration)
        shutil.copy(HERE / "registry.conf", self.folder)
        self.process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stderr=self._complaints("w"))
        deadline = time.monotonic() + PATIENCE
        while not (answers(self.port) and answers(self.capped_port)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise SystemExit(f"the origin does not start: {self._complaints('r').read()}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def _complaints(self, mode):
        return open(self.folder / "run/stderr", mode, encoding="utf-8")

    def _command(self):
        def server(prefix):
            return [self.nginx, "-p", f"{prefix}/", "-c", "nginx.conf", "-e", "run/error.log"]

        if os.geteuid() != 0:
            (self.folder / "set").symlink_to(self.set_folder)
            return server(self.folder)
        os.chmod(self.folder, 0o755)
        shutil.chown(self.folder / "run", "nobody")
        # nginx writes there as nobody, like everything else in this folder.
        (self.folder / "run/access.log").touch()
        shutil.chown(self.folder / "run/access.log", "nobody")
        private = ["unshare", "--mount", "--propagation", "private", "bash", "-c", AS_NOBODY, "origin"]
        return [*private, str(self.folder), str(self.set_folder), *server("/mnt/origin")]

    def position(self):
        """A mark in the log; `since` counts from it."""
        return (self.folder / "run/access.log").stat().st_size

    def since(self, position):
        """Requests and bytes of bodies since a mark. A line is written when an answer ends."""
        counts = Counts(0, 0)
        with open(self.folder / "run/access.log", encoding="utf-8") as log:
            log.seek(position)
            for line in log:
                counts.requests += 1
                counts.body_bytes += int(line.split()[2])
        return counts


def free_ports(count):
    """Ports that nobody listens on; another program may take one in the moment before nginx does, which it says."""
    held = []
    for _ in range(count):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        held.append(listener)
    ports = [listener.getsockname()[1] for listener in held]
    for listener in held:
        listener.close()
    return ports


def answers(port):
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
