"""The folder of one model: sealed when it is written, and believed only where it still is so.

config.json         labels, embedder, calibration (`router.neural.ModelConfig`)
head.safetensors    weights
metrics.json        what was measured when it was trained
encoder/            the model's own fine-tuned encoder, where it has one (sentence-transformers)
encoder-int8/       its export, as workers run it
bandit.safetensors  how to explore beside it, where nights learn that (`router.bandit.Bandit`)
manifest.json       name, size and SHA-256 of all of these, and the checksum of itself
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from contracts.errors import FatalError
from vectors.disk import checksum, encode_sealed, open_plain, read_sealed, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FORMAT = 1
CONFIG, HEAD, METRICS, MANIFEST = "config.json", "head.safetensors", "metrics.json", "manifest.json"
ENCODER, EXPORT = "encoder", "encoder-int8"
BANDIT = "bandit.safetensors"
ALIASES = ("champion", "challenger", "previous")
_REQUIRED = (CONFIG, HEAD, METRICS)

_Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}\Z")]
_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class BadModelError(FatalError):
    """A folder that is no model of ours, or no longer: it must not serve. Names file and cause."""


class FileEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a model; `bytes` is its size."""

    bytes: Annotated[int, Meta(ge=0)]
    sha256: _Digest


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model folder consists of.

    Attributes:
        version: the name it serves under and is registered as.
        created_at: RFC 3339, UTC.
        data_fingerprint: of the examples it was trained on.
        files: every file but the manifest, by path relative to the folder, `/` between the parts.
    """

    format: int
    version: _Name
    created_at: str
    data_fingerprint: str
    files: dict[str, FileEntry]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.bytes for entry in self.files.values())


class _Format(Struct):
    format: int


def version_of(folder: Path, created_at: str) -> str:
    """Name for the content of a folder: the day it was made and a digest of every file.

    Raises:
        BadModelError: the folder holds something that is no file.
    """
    return _version(_digested(folder), created_at)


def seal(
    folder: Path, *, data_fingerprint: str, created_at: str, version: str | None = None
) -> Manifest:
    """Write the manifest of a complete folder, and have all of it survive a power failure.

    Args:
        folder: what the model consists of, and nothing else.
        data_fingerprint: of the examples it was trained on.
        created_at: RFC 3339, UTC.
        version: by default `version_of` the content.

    Raises:
        BadModelError: a file is lacking, or something is there that is no file.
        OSError: the disk failed.
    """
    (folder / MANIFEST).unlink(missing_ok=True)
    files = _digested(folder)
    if lacking := [name for name in _REQUIRED if name not in files]:
        raise BadModelError(f"{folder}: {lacking[0]} is missing")
    manifest = Manifest(
        format=FORMAT,
        version=version or _version(files, created_at),
        created_at=created_at,
        data_fingerprint=data_fingerprint,
        files=files,
    )
    (folder / MANIFEST).write_bytes(encode_sealed(manifest))
    for path in _walk(folder):
        sync(path)
    for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        sync(path)
    return manifest


def verify(folder: Path) -> Manifest:
    """Check that a folder is what was sealed, to the byte, before anyone parses any of it.

    Raises:
        BadModelError: it is not; the message names the file and what is wrong with it.
    """
    manifest = read_manifest(folder)
    try:
        found = {_relative(path, folder): info for path, info in _walk(folder).items()}
    except OSError as error:
        raise _unreadable(folder, error) from error
    found.pop(MANIFEST, None)
    if missing := sorted(manifest.files.keys() - found.keys()):
        what = "a folder" if (folder / missing[0]).is_dir() else "missing"
        raise BadModelError(f"{folder}: {missing[0]} is {what}")
    if extra := sorted(found.keys() - manifest.files.keys()):
        raise BadModelError(f"{folder}: {extra[0]} is not in {MANIFEST}")
    for name, entry in manifest.files.items():
        if found[name].st_size != entry.bytes:
            raise BadModelError(
                f"{folder}: {name} has {found[name].st_size} bytes, {MANIFEST} says {entry.bytes}"
            )
    for name, entry in manifest.files.items():
        try:
            digest = checksum(folder / name)
        except OSError as error:
            raise _unreadable(folder, error, name) from error
        _compare(folder, name, digest, entry)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read what a folder says of itself; whether it is so `verify` says.

    Raises:
        BadModelError: there is no manifest, or it is damaged or of another version of the program.
    """
    if not folder.is_dir():
        what = "it is no folder" if folder.exists() else "there is no such folder"
        raise BadModelError(f"{folder}: {what}")
    try:
        content = read_sealed(folder / MANIFEST)
        if (number := msgspec.json.decode(content, type=_Format).format) != FORMAT:
            raise BadModelError(
                f"{folder}: {MANIFEST} has format {number}, this program reads {FORMAT}"
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except FileNotFoundError as error:
        raise BadModelError(f"{folder}: {MANIFEST} is missing") from error
    except OSError as error:
        raise _unreadable(folder, error, MANIFEST) from error
    except ValueError as error:
        raise BadModelError(f"{folder}: {MANIFEST} is damaged: {error}") from error
    _check_names(folder, manifest)
    return manifest


def read_file(folder: Path, name: str, manifest: Manifest) -> bytes:
    """Read one file of a verified folder; what is returned is what was sealed, whatever happened.

    Raises:
        BadModelError: it changed since it was verified, or cannot be read.
    """
    try:
        with open_plain(folder / name) as file:
            content = file.read()
    except OSError as error:
        raise _unreadable(folder, error, name) from error
    _compare(folder, name, hashlib.sha256(content).hexdigest(), manifest.files[name])
    return content


def _check_names(folder: Path, manifest: Manifest) -> None:
    if manifest.version in ALIASES:
        raise BadModelError(f"{folder}: {manifest.version!r} is an alias, no version")
    if lacking := [name for name in _REQUIRED if name not in manifest.files]:
        raise BadModelError(f"{folder}: {MANIFEST} lacks {lacking[0]}")
    for name in manifest.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name:
            raise BadModelError(f"{folder}: {MANIFEST} names {name!r}, which is no path inside")


def _digested(folder: Path) -> dict[str, FileEntry]:
    files = {
        _relative(path, folder): FileEntry(info.st_size, checksum(path))
        for path, info in _walk(folder).items()
    }
    files.pop(MANIFEST, None)
    return files


def _version(files: Mapping[str, FileEntry], created_at: str) -> str:
    digest = hashlib.sha256(msgspec.json.encode(files, order="sorted")).hexdigest()
    return f"{created_at[:10].replace('-', '')}-{digest[:12]}"


def _walk(folder: Path) -> dict[Path, os.stat_result]:
    """Every file below a folder, in order of their names.

    Raises:
        BadModelError: something is neither file nor folder, or a folder is empty.
        OSError: a folder cannot be read.
    """
    return dict(sorted(_entries(folder, folder)))


def _entries(folder: Path, root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    entries = list(os.scandir(folder))
    if not entries:
        raise BadModelError(f"{root}: {_relative(folder, root)} is an empty folder")
    for entry in entries:
        path, info = Path(entry.path), entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            yield from _entries(path, root)
        elif stat.S_ISREG(info.st_mode):
            yield path, info
        else:
            what = "a link" if stat.S_ISLNK(info.st_mode) else "no regular file"
            raise BadModelError(f"{root}: {_relative(path, root)} is {what}")


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _compare(folder: Path, name: str, digest: str, entry: FileEntry) -> None:
    if digest != entry.sha256:
        raise BadModelError(
            f"{folder}: {name} is damaged: SHA-256 {digest}, {MANIFEST} says {entry.sha256}"
        )


def _unreadable(folder: Path, error: OSError, name: str | None = None) -> BadModelError:
    what = name or Path(error.filename or folder).name
    return BadModelError(f"{folder}: {what} cannot be read: {error.strerror or error}")
