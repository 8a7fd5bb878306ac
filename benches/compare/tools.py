"""The tools that are compared: how each is told to fetch a shape, and where it puts blobs."""

import shlex

from shape import REGISTRIES


class Tool:
    """One way to fetch. `program` is its path; `version` is what it says of itself."""

    name = ""
    # Whether its work outlives a power cut when it says that it is done.
    durable = False
    # Whether configs, manifests and indexes arrive byte for byte, for one platform.
    keeps_everything = False
    blobs = "blobs/sha256"

    def __init__(self, program, version):
        self.program, self.version = program, version

    def prepare(self, shape, destination):
        """What is done before the clock starts."""

    def command(self, shape, port, destination):
        """The command that fetches SHAPE from the origin at PORT into DESTINATION."""
        raise NotImplementedError


class Floor(Tool):
    """floor.c, with so many connections."""

    durable = True
    keeps_everything = True
    blobs = "."

    def __init__(self, program, connections, work):
        super().__init__(program, f"floor.c, {connections} connections")
        self.name, self.connections, self.work = "floor", connections, work

    def prepare(self, shape, destination):
        destination.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in destination.iterdir()}
        shape.write_list(self.work / "floor.list", without=there)

    def command(self, shape, port, destination):
        return [self.program, str(self.work / "floor.list"), str(port), str(destination), str(self.connections)]


class Crane(Tool):
    """All images by one command, which shares layers."""

    name = "crane"

    def command(self, shape, port, destination):
        references = [reference for reference, _ in shape.references(port)]
        return [self.program, "pull", "--format=oci", "--platform=linux/amd64", *references, str(destination)]


def in_turn(commands):
    """A shell that runs one command for each image, and stops at the first that fails."""
    return ["sh", "-ec", "\n".join(shlex.join(command) for command in commands)]


class Oras(Tool):
    """One command for each image into one layout, which shares layers."""

    name = "oras"

    def command(self, shape, port, destination):
        options = ["--no-tty", "--from-plain-http", "--platform=linux/amd64", "--to-oci-layout"]
        return in_turn(
            [self.program, "copy", *options, reference, f"{destination}:{name}"]
            for reference, name in shape.references(port)
        )


class Skopeo(Tool):
    """One command for each image into one layout, which shares layers."""

    name = "skopeo"
    durable = True

    def command(self, shape, port, destination):
        options = ["--insecure-policy", "--override-os=linux", "--override-arch=amd64", "copy", "--src-tls-verify=false"]
        return in_turn(
            [self.program, *options, f"docker://{reference}", f"oci:{destination}:{name}"]
            for reference, name in shape.references(port)
        )

    def prepare(self, shape, destination):
        destination.mkdir(parents=True, exist_ok=True)


class Ztlab(Tool):
    """The product, with the origin as mirror of all registries."""

    name = "ztlab"
    durable = True
    keeps_everything = True

    def __init__(self, program, version, labs):
        super().__init__(program, version)
        self.labs = labs

    def call(self, shape, port, destination, *verb):
        """Any verb of it."""
        mirrors = [f"--mirror={host}=http://127.0.0.1:{port}/{host}" for host in REGISTRIES]
        return [self.program, f"--lab={self.labs / shape.name}", f"--store={destination}", *mirrors, *verb]

    def command(self, shape, port, destination):
        return self.call(shape, port, destination, "fetch")
