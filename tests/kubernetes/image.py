#!/usr/bin/env python3
"""Makes a container image without a registry and without a daemon: an archive as `docker save` writes it, which is an OCI layout too.

    image.py OUT.tar NAME:TAG SOURCE [--add FILE=/PATH]... [--env K=V]... [--user UID[:GID]] [--entrypoint PATH] [-- COMMAND...]

SOURCE is a folder, which becomes the root of the image, or a static program, which becomes /NAME in it and its entry point.
COMMAND is the image's command, after the entry point where there is one. The same input gives the same bytes, so an image of the
same content has the same digest, which is printed, and under which a registry would have it. Its name should have a registry's part, as
localhost/probe:1 has: without one, Kubernetes puts its own in front.
"""

import argparse
import hashlib
import io
import json
import os
import struct
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

EPOCH = "1970-01-01T00:00:00Z"
# Nobody's number, as distroless images have it: Kubernetes refuses an image without one where pods may not run as root.
NOBODY = "65532:65532"
MACHINES = {0x3E: "amd64", 0xB7: "arm64"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LOADER = 3  # PT_INTERP: names the loader that a dynamically linked program needs.


class Unusable(Exception):
    """What was given makes no image that runs."""


def architecture(program):
    """The architecture that a static program is for."""
    with open(program, "rb") as file:
        data = file.read(1 << 16)
    if data[:6] != b"\x7fELF\x02\x01":
        raise Unusable(f"{program} is no program for 64 bits (ELF, little endian)")
    (machine,) = struct.unpack_from("<H", data, 18)
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    if any(struct.unpack_from("<I", data, table + at * size)[0] == LOADER for at in range(count)):
        raise Unusable(f"{program} is linked dynamically and finds no libraries in an image: build it static")
    if machine not in MACHINES:
        raise Unusable(f"{program} is for a machine that is not known here ({machine:#x})")
    return MACHINES[machine]


def entry(path, size=0, mode=0o644, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(path)
    info.size, info.mode, info.type, info.linkname = size, mode, kind, target
    return info


def add_file(tar, source, path):
    # Only whether it can be run is kept: the rest hangs on the umask of whoever made it.
    status = os.stat(source)
    with open(source, "rb") as file:
        tar.addfile(entry(path, status.st_size, 0o755 if status.st_mode & 0o111 else 0o644), file)


def add_folder(tar, folder):
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            tar.addfile(entry(name, mode=0o777, kind=tarfile.SYMTYPE, target=os.readlink(path)))
        elif path.is_dir():
            sticky = path.stat().st_mode & 0o1000  # As /tmp is, where everyone may write.
            tar.addfile(entry(name, mode=0o1777 if sticky else 0o755, kind=tarfile.DIRTYPE))
        elif path.is_file():
            add_file(tar, path, name)


def add_parents(tar, path, made):
    for parent in reversed(PurePosixPath(path).parents[:-1]):
        if parent not in made:
            made.add(parent)
            tar.addfile(entry(str(parent), mode=0o755, kind=tarfile.DIRTYPE))


def write_layer(file, source, added):
    """The one layer; answers its hash."""
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        made = set()
        if source.is_dir():
            add_folder(tar, source)
            made = {PurePosixPath(path.relative_to(source).as_posix()) for path in source.rglob("*") if path.is_dir()}
        else:
            add_file(tar, source, source.name)
        for path, content in sorted(added.items()):
            add_parents(tar, path, made)
            add_file(tar, content, path)
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def configuration(arguments, layer):
    source = arguments.source
    config = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", *arguments.env], "User": arguments.user, "Cmd": arguments.command}
    if arguments.entrypoint:
        config["Entrypoint"] = [arguments.entrypoint]
    elif source.is_file():
        config["Entrypoint"] = [f"/{source.name}"]
    host = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    return {
        "architecture": architecture(source) if source.is_file() else host,
        "os": "linux",
        "created": EPOCH,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        "history": [{"created": EPOCH}],
    }


def write(arguments):
    added = {path.lstrip("/"): Path(file) for file, _, path in (pair.rpartition("=") for pair in arguments.add)}
    missing = [str(path) for path in [arguments.source, *added.values()] if not path.exists()]
    if missing or "" in added:
        raise Unusable(f"there is no {', '.join(missing)}" if missing else "--add takes FILE=/PATH")
    # Beside the archive, where there is room for it, and renamed at the end: no half image is ever found.
    with tempfile.TemporaryDirectory(dir=arguments.out.parent, prefix=".image.") as scratch:
        with open(f"{scratch}/layer", "w+b") as layer, open(f"{scratch}/image", "wb") as out:
            digest = write_layer(layer, arguments.source, added)
            config = json.dumps(configuration(arguments, digest), sort_keys=True).encode()
            size = layer.seek(0, os.SEEK_END)
            layer.seek(0)
            manifest = manifest_of(config, digest, size)
            with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for path, data in descriptions(arguments.name, config, manifest, digest).items():
                    tar.addfile(entry(path, len(data)), io.BytesIO(data))
                tar.addfile(entry(blob(digest), size), layer)
        os.replace(f"{scratch}/image", arguments.out)
    return hashlib.sha256(manifest).hexdigest()


def blob(digest):
    return f"blobs/sha256/{digest}"


def manifest_of(config, layer, size):
    """What the digest of the image is of: its configuration and its layer."""
    part = lambda kind, digest, size: {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": size}
    return json.dumps({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": part("config.v1+json", hashlib.sha256(config).hexdigest(), len(config)),
        "layers": [part("layer.v1.tar", layer, size)],
    }).encode()


def descriptions(name, config, manifest, layer):
    """Every file of the archive but the layer, by its path: as OCI lays an image out, and what older programs read."""
    configured, described = (hashlib.sha256(data).hexdigest() for data in (config, manifest))
    descriptor = {
        "mediaType": MANIFEST, "digest": f"sha256:{described}", "size": len(manifest), "annotations": {"io.containerd.image.name": name},
    }
    files = {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "index.json": {"schemaVersion": 2, "manifests": [descriptor]},
        "manifest.json": [{"Config": blob(configured), "RepoTags": [name], "Layers": [blob(layer)]}],
    }
    return {path: json.dumps(file).encode() for path, file in files.items()} | {blob(configured): config, blob(described): manifest}


def main():
    parser = argparse.ArgumentParser(prog="image.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("name", help="NAME:TAG")
    parser.add_argument("source", type=Path)
    parser.add_argument("--add", action="append", default=[], metavar="FILE=/PATH", help="one more file, or another in its place")
    parser.add_argument("--env", action="append", default=[], metavar="K=V")
    parser.add_argument("--entrypoint", metavar="PATH", help="the program in a folder; of a program it is that itself")
    parser.add_argument("--user", default=NOBODY, metavar="UID[:GID]", help=f"who runs it; {NOBODY} when not said")
    given = sys.argv[1:]
    at = given.index("--") if "--" in given else len(given)
    arguments = parser.parse_args(given[:at])
    arguments.command = given[at + 1 :]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        identity = write(arguments)
    except Unusable as unusable:
        sys.exit(f"image.py: {unusable}")
    print(f"{arguments.out} {arguments.name} sha256:{identity}")


if __name__ == "__main__":
    main()
