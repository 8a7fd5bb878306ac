#!/usr/bin/env python3
"""Makes an OCI image layout from files, without Docker. Same files and options, same bytes.

    mkimage.py --out DIR --ref REF [options] [--layer] SRC:DEST[:MODE]... [--layer SRC:DEST[:MODE]...]...

What it writes is what a registry holds behind a tag: index.json names one image index (a list with one platform),
which names the manifest, which names config and gzip layers. `--media docker` writes the same with Docker's media
types, because many real images carry those. SRC may be a folder: it is copied whole, symbolic links stay links.
MODE (octal) is the mode of that file or folder; without it files are 0755 or 0644 and folders 0755, whatever the
umask of the machine made of them. Everything belongs to root.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile

CREATED = "2023-10-18T00:00:00Z"
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Layers never leave this machine, so speed is worth more than size.
GZIP_LEVEL = 1
OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
MEDIA_TYPES = {
    "oci": {
        "index": OCI + "index.v1+json",
        "manifest": OCI + "manifest.v1+json",
        "config": OCI + "config.v1+json",
        "layer": OCI + "layer.v1.tar+gzip",
    },
    "docker": {
        "index": DOCKER + "distribution.manifest.list.v2+json",
        "manifest": DOCKER + "distribution.manifest.v2+json",
        "config": DOCKER + "container.image.v1+json",
        "layer": DOCKER + "image.rootfs.diff.tar.gzip",
    },
}


class Layer:
    """One tar file in the making; adds the parent folders of what is added, each once."""

    def __init__(self):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT)
        self.folders = set()

    def add(self, source, destination, mode=None):
        destination = destination.strip("/")
        self._add_parents(destination)
        if os.path.islink(source):
            self._add_entry(destination, tarfile.SYMTYPE, 0o777, link=os.readlink(source))
        elif os.path.isdir(source):
            self._add_folder(destination, mode)
            for name in sorted(os.listdir(source)):
                self.add(os.path.join(source, name), destination + "/" + name)
        else:
            if mode is None:
                mode = 0o755 if os.stat(source).st_mode & 0o100 else 0o644
            with open(source, "rb") as file:
                self._add_entry(destination, tarfile.REGTYPE, mode, data=file.read())

    def bytes(self):
        self.tar.close()
        return self.buffer.getvalue()

    def _add_parents(self, destination):
        parts = destination.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            self._add_folder("/".join(parts[:count]), None)

    def _add_folder(self, path, mode):
        if path and path not in self.folders:
            self.folders.add(path)
            shared = path in ("tmp", "var/tmp")
            self._add_entry(path, tarfile.DIRTYPE, mode or (0o1777 if shared else 0o755))

    def _add_entry(self, path, kind, mode, data=b"", link=""):
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(data), link
        self.tar.addfile(entry, io.BytesIO(data))


def layer_bytes(specs):
    layer = Layer()
    for spec in specs:
        source, destination, *mode = spec.split(":")
        if not os.path.lexists(source):
            sys.exit(f"mkimage.py: no such file or folder: {source}")
        layer.add(source, destination, int(mode[0], 8) if mode else None)
    return layer.bytes()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class Layout:
    """An OCI image layout folder, written anew."""

    def __init__(self, folder):
        self.folder = folder
        shutil.rmtree(os.path.join(folder, "blobs"), ignore_errors=True)
        os.makedirs(os.path.join(folder, "blobs", "sha256"))

    def blob(self, media_type, data, **more):
        """Stores the bytes and returns the descriptor that names them."""
        self._write(os.path.join("blobs", "sha256", digest(data)[7:]), data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}

    def finish(self, descriptor):
        self._write("oci-layout", encode({"imageLayoutVersion": "1.0.0"}))
        self._write("index.json", encode({"schemaVersion": 2, "manifests": [descriptor]}))

    def _write(self, name, data):
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(data)


def runtime_config(options):
    """The part of the image's config that says how to run it; keys with nothing to say are left out."""
    environment = options.env
    if not any(entry.startswith("PATH=") for entry in environment):
        environment = [DEFAULT_PATH, *environment]
    config = {
        "Env": environment,
        "User": options.user,
        "WorkingDir": options.workdir,
        "Entrypoint": json.loads(options.entrypoint) if options.entrypoint else None,
        "Cmd": json.loads(options.cmd) if options.cmd else None,
        "ExposedPorts": {port: {} for port in options.port},
    }
    return {key: value for key, value in config.items() if value}


def make_image(options):
    media = MEDIA_TYPES[options.media]
    system, architecture = options.platform.split("/")
    platform = {"architecture": architecture, "os": system}
    layout = Layout(options.out)
    diff_ids, layers, history = [], [], []
    for specs in options.layer:
        tar = layer_bytes(specs)
        diff_ids.append(digest(tar))
        layers.append(layout.blob(media["layer"], gzip.compress(tar, GZIP_LEVEL, mtime=0)))
        history.append({"created": CREATED, "created_by": "mkimage.py"})
    config = layout.blob(media["config"], encode({
        **platform, "created": CREATED, "config": runtime_config(options),
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
    }))
    manifest = layout.blob(media["manifest"], encode({
        "schemaVersion": 2, "mediaType": media["manifest"], "config": config, "layers": layers,
    }), platform=platform)
    index = layout.blob(media["index"], encode({
        "schemaVersion": 2, "mediaType": media["index"], "manifests": [manifest],
    }))
    # containerd names the imported image by the first of these, OCI tools by the second.
    index["annotations"] = {
        "io.containerd.image.name": options.ref,
        "org.opencontainers.image.ref.name": options.ref.rsplit(":", 1)[-1],
    }
    layout.finish(index)
    print(options.ref, index["digest"], sum(layer["size"] for layer in layers), "bytes")


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of the layout")
    parser.add_argument("--ref", required=True, help="full reference, host/repository:tag")
    parser.add_argument("--platform", default="linux/amd64")
    parser.add_argument("--media", choices=sorted(MEDIA_TYPES), default="oci")
    parser.add_argument("--user", help="user or user:group that the image runs as")
    parser.add_argument("--env", action="append", default=[], metavar="K=V")
    parser.add_argument("--workdir")
    parser.add_argument("--entrypoint", metavar="JSON")
    parser.add_argument("--cmd", metavar="JSON")
    parser.add_argument("--port", action="append", default=[], metavar="80/tcp")
    parser.add_argument("--layer", action="append", nargs="+", default=[], metavar="SRC:DEST[:MODE]")
    parser.add_argument("first", nargs="*", metavar="SRC:DEST[:MODE]", help="files of the first layer")
    options = parser.parse_args(arguments)
    if options.first:
        options.layer.insert(0, options.first)
    if not options.layer:
        parser.error("an image needs at least one layer")
    return options


if __name__ == "__main__":
    make_image(parse(sys.argv[1:]))
