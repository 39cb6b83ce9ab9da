"""Ways in which the folder of a model can be wrong, each with the reason it must be refused for."""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from safetensors.numpy import save

from registry.folder import CONFIG, HEAD, MANIFEST, METRICS, read_manifest
from tests import models
from vectors.disk import encode_sealed, read_sealed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


class Broken(NamedTuple):
    """A way to be wrong.

    Attributes:
        harm: does it to a good folder.
        reason: what the refusal must say; a pattern.
    """

    name: str
    harm: Callable[[Path], object]
    reason: str


def _flip(name: str, folder: Path) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


def _cut(name: str, folder: Path) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])


def _lengthen(name: str, folder: Path) -> None:
    (folder / name).write_bytes((folder / name).read_bytes() + b"\0")


def _remove(name: str, folder: Path) -> None:
    (folder / name).unlink()


def _put(name: str, content: bytes, folder: Path) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)


def _link(name: str, folder: Path) -> None:
    """What a link points to may change after the check."""
    aside = folder.parent / f"{folder.name}-{name}"
    (folder / name).rename(aside)
    (folder / name).symlink_to(aside)


def _link_folder(folder: Path) -> None:
    (folder / "encoder").symlink_to(folder.parent)


def _pipe(folder: Path) -> None:
    (folder / METRICS).unlink()
    os.mkfifo(folder / METRICS)


def _folder_instead(name: str, folder: Path) -> None:
    (folder / name).rename(folder.parent / f"{folder.name}-aside")
    (folder / name).mkdir()
    (folder.parent / f"{folder.name}-aside").rename(folder / name / "inside")


def _no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def _file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"a model")


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _swap(folder: Path) -> None:
    """Every file is one of the model's, and the sizes are right."""
    other = folder.parent / f"{folder.name}-other"
    models.write(other, seed=7)
    (other / HEAD).replace(folder / HEAD)


def _edited(folder: Path) -> None:
    """Someone who changes a file and its digest, as an editor of JSON would."""
    before = read_manifest(folder).files[CONFIG].sha256
    after = "0" * 64
    text = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(text.replace(before.encode(), after.encode()))


class _Any(msgspec.Struct, dict=True):
    """A manifest that may say anything."""


def _lie(changes: dict[str, Any], folder: Path) -> None:
    """Seal a manifest that says something else."""
    said = msgspec.json.decode(read_sealed(folder / MANIFEST))
    kind = msgspec.defstruct("Lie", list((said | changes).keys()))
    (folder / MANIFEST).write_bytes(encode_sealed(kind(**(said | changes))))


def _lie_about(change: Callable[[dict[str, Any]], object], folder: Path) -> None:
    files = msgspec.to_builtins(read_manifest(folder).files)
    change(files)
    _lie({"files": files}, folder)


def _configured(folder: Path, **changes: object) -> None:
    _reseal(folder, settings=models.config(**changes))


def _text(text: bytes, folder: Path) -> None:
    _reseal(folder, settings=text)


def _weights(change: Callable[[dict[str, NDArray[Any]]], object], folder: Path) -> None:
    head = models.tensors()
    change(head)
    _reseal(folder, head=head)


def _raw_weights(content: bytes, folder: Path) -> None:
    _reseal(folder, head=content)


def _reseal(folder: Path, **content: Any) -> None:  # noqa: ANN401 - as `models.write` takes it
    """Write another model under the same name, with right checksums."""
    models.write(folder, version=read_manifest(folder).version, **content)


def _lying_header(offsets: list[int]) -> bytes:
    """A safetensors file of one tensor that claims these bytes of data, and has four."""
    header = msgspec.json.encode({"bias": {"dtype": "F32", "shape": [1], "data_offsets": offsets}})
    return len(header).to_bytes(8, "little") + header + b"\0\0\0\0"


def _poisoned(name: str, value: float) -> Callable[[Path], object]:
    return partial(_weights, lambda head: head[name].flat.__setitem__(1, value))


def _retyped(name: str, kind: type) -> Callable[[Path], object]:
    return partial(_weights, lambda head: head.update({name: head[name].astype(kind)}))


def _overflowing(folder: Path) -> None:
    head = models.tensors() | {"bias": np.full(len(models.LABELS), 3e38, np.float32)}
    _reseal(folder, settings=models.config(temperature=1e-3), head=head)


def _reshaped(name: str, shape: tuple[int, ...]) -> Callable[[Path], object]:
    kind = models.tensors()[name].dtype
    return partial(_weights, lambda head: head.update({name: np.ones(shape, kind)}))


_FILES = (CONFIG, HEAD, METRICS)
_FLOATS = ("idf", "lexical", "dense", "bias", "prototypes")

DAMAGED = (
    *(Broken(f"flipped {n}", partial(_flip, n), rf"{n} is damaged: SHA-256") for n in _FILES),
    *(Broken(f"cut {n}", partial(_cut, n), rf"{n} has \d+ bytes, manifest") for n in _FILES),
    *(Broken(f"missing {n}", partial(_remove, n), rf": {n} is missing") for n in _FILES),
    *(Broken(f"linked {n}", partial(_link, n), rf": {n} is a link") for n in _FILES),
    Broken("longer head", partial(_lengthen, HEAD), r"head\.safetensors has \d+ bytes"),
    Broken("empty head", partial(_put, HEAD, b""), r"head\.safetensors has 0 bytes"),
    Broken("another's head", _swap, r"head\.safetensors is damaged"),
    Broken("extra file", partial(_put, "notes.txt", b"hi"), r"notes\.txt is not in manifest"),
    Broken("hidden file", partial(_put, ".hidden", b""), r"\.hidden is not in manifest"),
    Broken("extra nested", partial(_put, "encoder/x", b""), r"encoder/x is not in manifest"),
    Broken("linked folder", _link_folder, r"encoder is a link"),
    Broken("empty folder", lambda folder: (folder / "x").mkdir(), r": x is an empty folder"),
    Broken("pipe", _pipe, r"metrics\.json is no regular file"),
    Broken("folder as head", partial(_folder_instead, HEAD), r": head\.safetensors is a folder"),
    Broken("no folder", _no_folder, r"there is no such folder"),
    Broken("a file", _file, r"it is no folder"),
    Broken("nothing in it", _emptied, r"manifest\.json is missing"),
)

MANIFESTS = (
    Broken("no manifest", partial(_remove, MANIFEST), r"manifest\.json is missing"),
    Broken("linked manifest", partial(_link, MANIFEST), r"manifest\.json cannot be read"),
    Broken("folder as manifest", partial(_folder_instead, MANIFEST), r"no regular file"),
    Broken("empty manifest", partial(_put, MANIFEST, b""), r"manifest\.json is damaged: Input"),
    Broken("cut manifest", partial(_cut, MANIFEST), r"manifest\.json is damaged: Input"),
    Broken("flipped manifest", partial(_flip, MANIFEST), r"manifest\.json is damaged"),
    Broken("edited manifest", _edited, r"does not match its own checksum"),
    Broken("no JSON", partial(_put, MANIFEST, b"labels: [a]"), r"damaged: JSON is malformed"),
    Broken("a list", partial(_put, MANIFEST, b"[]"), r"damaged: Expected `object`"),
    Broken("not sealed", partial(_put, MANIFEST, b'{"format":1}'), r"unknown field `format`"),
    Broken(
        "nested manifest",
        partial(_put, MANIFEST, b'{"sha256":"","manifest":' + b"[" * 10**5),
        r"nested too deep",
    ),
    Broken("next format", partial(_lie, {"format": 2}), r"has format 2, this program reads 1"),
    Broken("no number", partial(_lie, {"format": "x"}), r"Expected `int`, got `str` - at"),
    Broken("unknown field", partial(_lie, {"signed_by": "me"}), r"unknown field `signed_by`"),
    Broken("bad name", partial(_lie, {"version": "../other"}), r"matching regex .*version"),
    Broken("an alias", partial(_lie, {"version": "champion"}), r"'champion' is an alias"),
    Broken(
        "path outside",
        partial(_lie_about, lambda files: files.update({"../x": files[CONFIG]})),
        r"names '\.\./x', which is no path inside",
    ),
    Broken(
        "absolute path",
        partial(_lie_about, lambda files: files.update({"/etc/passwd": files[CONFIG]})),
        r"names '/etc/passwd', which",
    ),
    Broken(
        "path twice",
        partial(_lie_about, lambda files: files.update({f"./{CONFIG}": files[CONFIG]})),
        r"names '\./config\.json', which",
    ),
    Broken(
        "unlisted config",
        partial(_lie_about, lambda files: files.pop(CONFIG)),
        r"manifest\.json lacks config\.json",
    ),
    Broken(
        "negative size",
        partial(_lie_about, lambda files: files[HEAD].update(bytes=-1)),
        r"Expected `int` >= 0",
    ),
    Broken(
        "short digest",
        partial(_lie_about, lambda files: files[HEAD].update(sha256="00")),
        r"matching regex .*files",
    ),
)

CONFIGS = (
    Broken("no master", lambda f: _configured(f, labels=["cook", *models.LABELS[1:]]), r": cook$"),
    Broken("label twice", lambda f: _configured(f, labels=["a", "b", "a"]), r"stands in .* twice"),
    Broken("one label", lambda f: _configured(f, labels=["a"]), r"length >= 2"),
    Broken("empty label", lambda f: _configured(f, labels=["", "a", "b"]), r"length >= 1"),
    Broken("labels as text", lambda f: _configured(f, labels="abc"), r"Expected `array`"),
    Broken("other encoder", lambda f: _configured(f, embedder="bge"), r"by bge, not by all-Mini"),
    Broken("temperature < 0", lambda f: _configured(f, temperature=-1), r"`float` > 0"),
    Broken("infinite", lambda f: _text(_config_with("1e999"), f), r"config\.json"),
    Broken("dim 0", lambda f: _configured(f, dim=0), r"`int` >= 1"),
    Broken("other dim", lambda f: _configured(f, dim=9), r"dense has shape .8, 3., not .9, 3."),
    Broken("threshold", lambda f: _configured(f, thresholds={"cook": 1.0}), r"for 'cook', which"),
    Broken("bad number", lambda f: _configured(f, thresholds={models.LABELS[0]: "x"}), r"`float`"),
    Broken("new setting", lambda f: _configured(f, layers=9), r"unknown field `layers`"),
    Broken("no dim", partial(_text, b'{"labels":["a","b"],"embedder":"e"}'), r"missing .* `dim`"),
    Broken("config is a list", partial(_text, b"[1]"), r"config\.json: Expected `object`"),
    Broken("config is text", partial(_text, b"labels = 3"), r"config\.json: JSON is malformed"),
    Broken(
        "own encoder", lambda f: _configured(f, own_encoder=True), r"needs an encoder of its own"
    ),
)

WEIGHTS = (
    *(Broken(f"NaN {n}", _poisoned(n, np.nan), rf"{n} has numbers that are not") for n in _FLOATS),
    Broken("infinite weight", _poisoned("dense", np.inf), r"dense has numbers that are not finite"),
    Broken("overflow", _overflowing, r"its scores are not finite"),
    *(
        Broken(f"no {n}", partial(_weights, lambda head, n=n: head.pop(n)), rf"no tensor '{n}'")
        for n in ("keys", *_FLOATS)
    ),
    Broken("keys signed", _retyped("keys", np.int32), r"keys are int32, not uint32"),
    Broken("64 bits", _retyped("dense", np.float64), r"dense is float64"),
    Broken("integers", _retyped("bias", np.int8), r"bias is int8"),
    Broken("more labels", _reshaped("lexical", (5, 4)), r"lexical has shape \(5, 4\)"),
    Broken("fewer keys", _reshaped("keys", (4,)), r"idf has shape \(5,\), not \(4,\)"),
    Broken("flat head", _reshaped("dense", (24,)), r"dense has shape \(24,\)"),
    Broken("scalar keys", _reshaped("keys", ()), r"keys is a single number"),
    Broken("scalar prototypes", _reshaped("prototypes", ()), r"prototypes is a single"),
    Broken("zero prototypes", _reshaped("prototypes", (0, 8)), r"no prototypes"),
    Broken("no header", partial(_raw_weights, b""), r"safetensors: "),
    Broken("a pickle", partial(_raw_weights, b"\x80\x04K\x01." * 9), r"safetensors: "),
    Broken("long header", partial(_raw_weights, (99).to_bytes(8, "little")), r"safetensors: "),
    Broken("huge header", partial(_raw_weights, b"\xff" * 64), r"safetensors: "),
    Broken("beyond the end", partial(_raw_weights, _lying_header([0, 4000])), r"safetensors: "),
    Broken("backwards", partial(_raw_weights, _lying_header([4, 0])), r"safetensors: "),
    Broken("cut tensors", partial(_raw_weights, save(models.tensors())[:-8]), r"safetensors: "),
)

BROKEN = (*DAMAGED, *MANIFESTS, *CONFIGS, *WEIGHTS)


def _config_with(temperature: str) -> bytes:
    text = msgspec.json.encode(models.config(temperature=1.5))
    return text.replace(b"1.5", temperature.encode())
