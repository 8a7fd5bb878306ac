#!/usr/bin/env python3
"""Writes an image layout as an archive that `docker load` and Minikube's cache read.

    archive.py LAYOUT > ARCHIVE

The archive is the layout's blobs plus manifest.json, which names the image, its config and its layers. LAYOUT is what
rig/image/mkimage.py makes: index.json with the full reference, an index of one platform, one manifest.
"""

import io
import json
import pathlib
import sys
import tarfile


def blob_path(descriptor):
    return "blobs/" + descriptor["digest"].replace(":", "/")


def main(layout, stream):
    def read(descriptor):
        return json.loads((layout / blob_path(descriptor)).read_bytes())

    (outer,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    (inner,) = read(outer)["manifests"]
    manifest = read(inner)
    named = {
        "Config": blob_path(manifest["config"]),
        "RepoTags": [outer["annotations"]["io.containerd.image.name"]],
        "Layers": [blob_path(layer) for layer in manifest["layers"]],
    }
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for name in [named["Config"], *named["Layers"]]:
            archive.add(layout / name, arcname=name)
        content = json.dumps([named]).encode()
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.stdout.buffer)
