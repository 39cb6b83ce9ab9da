"""Nearest chunks of a large base: clusters of coarsely coded vectors propose, exact scores decide.

An inverted file (Jegou, Douze & Schmid, "Product Quantization for Nearest Neighbor Search", 2011)
with 4-bit codes of two dimensions each, scored in SIMD registers (Andre, Kermarrec & Le Scouarnec,
"Cache locality is not enough", 2015: FAISS's fast scan). A vector is a byte for four dimensions, so
that many clusters can be searched: a task lies far from all code, and its neighbours in many of
them. As many are searched as it takes to find what an exact search finds.

* `near.faiss`: centroids and codebooks, without vectors.
* `near.lists`: for each cluster the codes, in blocks of 32 as FAISS packs them, then the chunk ids;
  memory-mapped, so that all processes of a host share one copy.
* `near.npy`: size, capacity and offset of each of them.
"""

from __future__ import annotations

import ctypes
import math
from io import BytesIO
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

INDEX_FILE, LISTS_FILE, TABLE_FILE = "near.faiss", "near.lists", "near.npy"

EXACT_UP_TO = 100_000
"""Chunks up to which an exact search takes less than 5 ms."""

_BLOCK = 32  # vectors that FAISS packs together
_ID = 8  # bytes
_BATCH = 16_384
_SAMPLE = 40  # training vectors for each cluster
_ROUNDS = 10  # of k-means
_DEPTH = 200  # proposals, at least, that exact scores choose from
_SHARES = (1 / 4, 3 / 8, 1 / 2)  # of the clusters that a search looks into
_LEAST_RECALL = 0.95
_QUESTIONS, _K = 200, 10
_MIXED, _NOISE = 2, 1.6  # see `_questions`


class Near:
    """Proposes the neighbours of a vector. Safe to use from several threads at once."""

    def __init__(self, index: Any, lists: Any = None) -> None:  # noqa: ANN401 - faiss is untyped
        self._index = index
        self._lists = lists  # the index points to them

    @classmethod
    def open(cls, folder: Path, size: int) -> Near:
        """Map what `write_near` wrote and whose checksums were verified.

        Raises:
            OSError, RuntimeError, ValueError: the files cannot be read or do not fit together.
        """
        index: Any = faiss.read_index(str(folder / INDEX_FILE))
        table = np.load(folder / TABLE_FILE)
        _check(table, index, (folder / LISTS_FILE).stat().st_size, size)
        lists: Any = faiss.OnDiskInvertedLists(
            index.nlist, index.code_size, str(folder / LISTS_FILE)
        )
        # Written to where the lists' bounds are kept: FAISS offers no other way from Python.
        address = int(lists.lists.data().this)
        ctypes.memmove(address, np.ascontiguousarray(table).ctypes.data, table.nbytes)
        lists.totsize = int((folder / LISTS_FILE).stat().st_size)
        lists.read_only = True
        lists.prefetch_nthread = 0  # by default 32 threads are begun for every search
        lists.do_mmap()
        index.replace_invlists(lists)
        index.ntotal = size
        return cls(index, lists)

    @property
    def clusters(self) -> int:
        """How many there are."""
        return int(self._index.nlist)

    @property
    def searched(self) -> int:
        """How many clusters a search looks into."""
        return int(self._index.nprobe)

    def propose(
        self, vectors: NDArray[np.float32], k: int, among: faiss.IDSelector | None
    ) -> NDArray[np.int64]:
        """Chunks among which the k nearest to each row of `vectors` are, but for a few.

        Args:
            vectors: shape (n, dim).
            k: how many will be chosen.
            among: which chunks count; None for all.

        Returns:
            Chunk ids, shape (n, at least k), -1 where there were fewer.
        """
        options = faiss.SearchParametersIVF(nprobe=self._index.nprobe, sel=among)  # type: ignore[call-arg] # missing in the stubs
        _, ids = self._index.search(vectors, max(2 * k, _DEPTH), params=options)
        return np.asarray(ids)

    def blank(self) -> Any:  # noqa: ANN401 - faiss is untyped
        """An index with the same centroids and codebooks, without vectors."""
        centroids = faiss.clone_index(self._index.quantizer)
        index = _new_index(centroids, self._index.d, self.clusters)
        index.pq = self._index.pq
        index.is_trained = True
        return index


def write_near(folder: Path, exact: Any, before: Near | None) -> bool:  # noqa: ANN401 - faiss is untyped
    """Write an index of the vectors of `exact` if it is large, and good enough.

    Args:
        folder: where the files go.
        exact: a flat index that finds the true neighbours; vectors are read from it.
        before: of the base before; its clusters are used again unless the number of chunks has
            doubled or halved since, or they no longer fit.

    Returns:
        Whether it was written. If not, exact search it is.

    Raises:
        OSError: the disk failed or is full.
    """
    if exact.ntotal <= EXACT_UP_TO or exact.d % 2:
        return False
    random = np.random.default_rng(exact.ntotal)
    questions = _questions(exact, random)
    _, truth = exact.search(questions, _K)
    for index in _trained(exact, before, random):
        for start in range(0, exact.ntotal, _BATCH):
            index.add(exact.reconstruct_n(start, min(_BATCH, exact.ntotal - start)))
        if _tune(index, exact, questions, truth):
            _write(folder, index)
            return True
    return False


def _clusters(size: int) -> int:
    return round(2 * math.sqrt(size))


def _trained(exact: Any, before: Near | None, random: np.random.Generator) -> Iterator[Any]:  # noqa: ANN401 - faiss is untyped
    clusters = _clusters(exact.ntotal)
    if before is not None and clusters < math.sqrt(2) * before.clusters < 2 * clusters:
        yield before.blank()
    index = _new_index(faiss.IndexFlatIP(exact.d), exact.d, clusters)
    index.cp.niter = _ROUNDS
    index.cp.max_points_per_centroid = _SAMPLE
    count = min(_SAMPLE * clusters, exact.ntotal)
    index.train(exact.reconstruct_batch(_some(exact, count, random)))
    yield index


def _new_index(quantizer: Any, dim: int, clusters: int) -> Any:  # noqa: ANN401 - faiss is untyped
    metric = faiss.METRIC_INNER_PRODUCT
    return faiss.IndexIVFPQFastScan(quantizer, dim, clusters, dim // 2, 4, metric)


def _some(exact: Any, count: int, random: np.random.Generator) -> NDArray[np.int64]:  # noqa: ANN401 - faiss is untyped
    return np.sort(random.choice(exact.ntotal, count, replace=False))


def _questions(exact: Any, random: np.random.Generator) -> NDArray[np.float32]:  # noqa: ANN401 - faiss is untyped
    """Vectors that lie to the chunks as tasks do, shape (n, dim).

    Means of two chunks with noise 1.6 times as long have the cosine with their nearest of a million
    chunks that commit subjects have, 0.44 and 0.45, and are found almost as badly: with a quarter
    of the clusters 0.975 and 0.977 of them, of 150,000 chunks 0.985 and 0.956, hence the least
    share. Chunks with little noise find themselves in a few clusters and would prove nothing.
    """
    mixed = np.zeros((_QUESTIONS, exact.d), np.float32)
    for _ in range(_MIXED):
        mixed += exact.reconstruct_batch(random.permutation(_some(exact, _QUESTIONS, random)))
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    mixed += random.standard_normal(mixed.shape, np.float32) * np.float32(_NOISE / exact.d**0.5)
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    return mixed


def _tune(
    index: Any,  # noqa: ANN401 - faiss is untyped
    exact: Any,  # noqa: ANN401 - faiss is untyped
    questions: NDArray[np.float32],
    truth: NDArray[np.int64],
) -> bool:
    """Have as many clusters searched as it takes; False if half of them are not enough."""
    near = Near(index)
    for share in _SHARES:
        index.nprobe = max(1, round(index.nlist * share))
        proposed = near.propose(questions, _K, None)
        hits = 0
        for question, ids, best in zip(questions, proposed, truth, strict=True):
            there = ids[ids >= 0]
            order = np.argsort(-(exact.reconstruct_batch(there) @ question))
            hits += len(np.intersect1d(there[order[:_K]], best))
        if hits >= _LEAST_RECALL * truth.size:
            return True
    return False


def _write(folder: Path, index: Any) -> None:  # noqa: ANN401 - faiss is untyped
    lists, offset = faiss.downcast_InvertedLists(index.invlists), 0
    table = np.zeros((index.nlist, 3), np.uint64)
    with (folder / LISTS_FILE).open("wb") as file:
        for number in range(index.nlist):
            size = lists.list_size(number)
            if not size:
                continue
            capacity = -(-size // _BLOCK) * _BLOCK
            table[number] = size, capacity, offset
            ids = np.full(capacity, -1, np.int64)
            ids[:size] = faiss.rev_swig_ptr(lists.get_ids(number), size)
            codes = faiss.rev_swig_ptr(lists.get_codes(number), capacity * index.code_size)
            file.write(codes.tobytes())
            file.write(ids.tobytes())
            offset += capacity * (index.code_size + _ID)
    buffer = BytesIO()
    np.save(buffer, table)
    (folder / TABLE_FILE).write_bytes(buffer.getbuffer())
    searched = index.nprobe
    index.reset()
    index.nprobe = searched
    with (folder / INDEX_FILE).open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined] # missing in the stubs


def _check(table: NDArray[Any], index: Any, length: int, size: int) -> None:  # noqa: ANN401 - faiss is untyped
    """Refuse bounds beyond the file: FAISS reads wherever they say."""
    fits = table.shape == (index.nlist, 3) and table.dtype == np.uint64
    if fits:
        sizes, capacities, offsets = table.astype(np.float64).T
        ends = offsets + capacities * (index.code_size + _ID)
        fits = bool((ends <= length).all() and (sizes <= capacities).all())
    if not fits or int(table[:, 0].sum()) != size:
        raise ValueError(f"{TABLE_FILE} does not fit the other files")
