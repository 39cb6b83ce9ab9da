"""What was decided and how it went, on disk: append-only, without doubles, in versions.

A table of decisions and one of outcomes, each a set of Parquet parts that are never changed
(`learning.parts`). A version is the rows that had come by then, however the parts were merged
since. An outcome that comes days later joins its decision then, in the versions from then on; of
several outcomes of a decision the last one counts. Neither the order nor the grouping in which
entries are appended makes a difference, nor that one is appended twice (`learning.tables`).
"""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import msgspec
import numpy as np

from contracts.errors import FatalError, TransientError
from learning import tables
from learning.labels import Lessons, reward, teach
from learning.parts import (
    Manifest,
    Part,
    checked,
    commit,
    read_manifest,
    remove_unnamed,
    sealed_part,
    writing,
)
from learning.records import DecisionRecord, OutcomeRecord, Reported
from learning.tables import DECISIONS, OUTCOMES, TABLES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from msgspec import Struct
    from numpy.typing import NDArray

    from learning.examples import Example

_SUFFIX = ".parquet"
_MOST_PARTS = 256  # of a table: each costs a reader about a millisecond
_LARGE = 32 << 20  # bytes; what has grown to this is not written again just to be with the others
_FETCH = 2_048  # rows in memory at a time


class DecisionLog(NamedTuple):
    """What `learning.offpolicy` estimates from: one element per decision that has an outcome.

    Attributes:
        masters: the actions, by index.
        actions: (n,) int64, index of the selected master.
        rewards: (n,) float64, 0-1, see `learning.labels.reward`.
        propensities: (n,) float64, 0-1, of the selected master under the policy that chose.
        scores: (n, masters) float64, the probability that the router gave each master; 0 where it
            gave none.
        treatment: (n,) bool, whether the decision was in the treatment arm.
        decided_at_ms: (n,) int64, milliseconds since 1970, ascending.
        texts: the descriptions of the tasks.
    """

    masters: tuple[str, ...]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]
    propensities: NDArray[np.float64]
    scores: NDArray[np.float64]
    treatment: NDArray[np.bool_]
    decided_at_ms: NDArray[np.int64]
    texts: list[str]


class Counts(NamedTuple):
    """How many entries there are, each counted once, and how many decisions have an outcome."""

    decisions: int
    outcomes: int
    reported: int


class Dataset:
    """The data set in one folder, which several processes may read and append to.

    Every method raises FatalError where the folder is damaged, and those that take a version where
    there is no such one; None is the latest. Those that write raise TransientError while the disk
    or another writer is in the way; nothing was changed then.
    """

    def __init__(self, root: Path) -> None:
        """Open the data set in `root`, which need not exist."""
        self._root = root
        self._database = tables.connect(root)

    @property
    def version(self) -> int:
        """The latest version; 0 while nothing was appended."""
        return read_manifest(self._root).version

    def append(
        self, decisions: Sequence[DecisionRecord] = (), outcomes: Sequence[OutcomeRecord] = ()
    ) -> int:
        """Add rows, all or none; on return they are durable.

        Returns:
            The version that holds them; the present one where there is nothing to add.
        """
        given: dict[str, Sequence[Struct]] = {DECISIONS: decisions, OUTCOMES: outcomes}
        with self._writing() as manifest:
            version = manifest.version + 1
            new: list[Part] = []
            for table, records in given.items():
                if records:
                    query = tables.new_rows(table, records, version)
                    new += self._write(table, version, *query)
            if not new:
                return manifest.version
            after = msgspec.structs.replace(
                manifest, version=version, parts=(*manifest.parts, *new)
            )
            commit(self._root, after)
        if any(len(after.of(table)) > _MOST_PARTS for table in TABLES):
            with suppress(TransientError):  # the rows are in; the next append tries again
                self.compact(smaller_than=_LARGE)
        return version

    def compact(self, smaller_than: int | None = None) -> int:
        """Merge parts into one per table, which changes no content; returns the version.

        Args:
            smaller_than: merge only parts of fewer bytes.
        """
        with self._writing() as manifest:
            merged = [p for p in manifest.parts if smaller_than is None or p.size < smaller_than]
            return self._replace(manifest, merged, dict.fromkeys(TABLES, "true"))

    def tidy(self, retention_ms: int, now_ms: int | None = None) -> int:
        """Merge everything, and forget what has waited for its other half for too long.

        That is decisions without an outcome and outcomes without a decision. Since neither teaches
        anything, all versions go on teaching what they taught.

        Args:
            retention_ms: how long either is kept.
            now_ms: milliseconds since 1970; by default by this machine's clock.

        Returns:
            The version.
        """
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        since = max(0, now_ms - retention_ms)
        kept = {
            table: f"at_ms >= {since} OR task_id IN (SELECT task_id FROM {other})"  # noqa: S608 - our own names
            for table, other in ((DECISIONS, "o"), (OUTCOMES, "d"))
        }
        with self._writing() as manifest:
            tidied = msgspec.structs.replace(manifest, tidied_ms=now_ms)
            return self._replace(tidied, manifest.parts, kept)

    def tidied_ms(self) -> int:
        """When `tidy` last ran, in milliseconds since 1970; 0 if it never did."""
        return read_manifest(self._root).tidied_ms

    def reported(self, version: int | None = None) -> Iterator[Reported]:
        """Yield decisions with their outcomes in the order in which they were decided.

        Only some are in memory at a time.
        """
        names = f"{tables.fields('d', DECISIONS)}, {tables.fields('o', OUTCOMES)}"
        split = len(DecisionRecord.__struct_fields__)
        with self._reading(version) as (decisions, outcomes, parameters):
            cursor = self._database.cursor()
            cursor.execute(tables.reported(decisions, outcomes, names), parameters)
            while found := cursor.fetchmany(_FETCH):
                for row in found:
                    yield Reported(DecisionRecord(*row[:split]), OutcomeRecord(*row[split:]))

    def lessons(
        self, version: int | None = None, masters: Collection[str] | None = None
    ) -> Lessons:
        """Return what is taught, and what was left out; see `learning.labels.teach`."""
        return teach(self.reported(version), masters)

    def examples(
        self, version: int | None = None, masters: Collection[str] | None = None
    ) -> list[Example]:
        """Return training examples, one per text, of the masters named or of all."""
        return self.lessons(version, masters).examples

    def logged(self, version: int | None = None) -> DecisionLog:
        """Return what off-policy estimates need, as arrays."""
        found = [(each.decision, reward(each)) for each in self.reported(version)]
        decisions = [decision for decision, _ in found]
        named = {name for each in decisions for name in (each.selected_master, *each.scores)}
        masters = tuple(sorted(named))
        index = {name: number for number, name in enumerate(masters)}
        scores = np.zeros((len(decisions), len(masters)))
        for row, each in zip(scores, decisions, strict=True):
            for name, score in each.scores.items():
                row[index[name]] = score
        return DecisionLog(
            masters=masters,
            actions=np.array([index[each.selected_master] for each in decisions], np.int64),
            rewards=np.array([reward for _, reward in found], np.float64),
            propensities=np.array([each.propensity for each in decisions], np.float64),
            scores=scores,
            treatment=np.array([each.ab_test_group == "treatment" for each in decisions], np.bool_),
            decided_at_ms=np.array([each.at_ms for each in decisions], np.int64),
            texts=[each.text for each in decisions],
        )

    def fingerprint(self, version: int | None = None) -> str:
        """SHA-256 of the decisions with their outcomes, in hex: the same for the same content."""
        digest = hashlib.sha256()
        encode = msgspec.json.Encoder(order="sorted").encode
        for each in self.reported(version):
            digest.update(encode(each) + b"\n")
        return digest.hexdigest()

    def counts(self, version: int | None = None) -> Counts:
        """Count what there is."""
        with self._reading(version) as (decisions, outcomes, parameters):
            query = tables.counts(decisions, outcomes)
            (found,) = self._database.execute(query, parameters).fetchall()
        return Counts(*found)

    @contextmanager
    def _reading(self, version: int | None) -> Iterator[tuple[str, str, dict[str, list[str]]]]:
        manifest = read_manifest(self._root)
        version = manifest.version if version is None else version
        if not 0 <= version <= manifest.version:
            raise FatalError(
                f"{self._root} has no version {version}; its latest is {manifest.version}"
            )
        with _disk_trouble(f"cannot read {self._root}"):
            yield self._queries(manifest.parts, version)

    def _queries(
        self, parts: Sequence[Part], version: int
    ) -> tuple[str, str, dict[str, list[str]]]:
        paths = {
            table: [checked(self._root, part) for part in parts if part.table == table]
            for table in TABLES
        }
        decisions, some = tables.rows(DECISIONS, paths[DECISIONS], version)
        outcomes, more = tables.rows(OUTCOMES, paths[OUTCOMES], version)
        return decisions, outcomes, some | more

    @contextmanager
    def _writing(self) -> Iterator[Manifest]:
        with _disk_trouble(f"cannot write {self._root}"), writing(self._root) as manifest:
            yield manifest

    def _replace(self, manifest: Manifest, merged: Iterable[Part], kept: dict[str, str]) -> int:
        """Write those rows of parts anew that a condition keeps, and commit."""
        merged = tuple(merged)
        version = manifest.version + 1
        decisions, outcomes, parameters = self._queries(merged, version)
        new: list[Part] = []
        for table, row in ((DECISIONS, "d"), (OUTCOMES, "o")):
            query = f"""
                WITH d AS ({decisions}), o AS ({outcomes})
                SELECT * FROM {row} WHERE {kept[table]}
            """  # noqa: S608 - made of our own names
            new += self._write(table, version, query, parameters)
        left = [part for part in manifest.parts if part not in merged]
        after = msgspec.structs.replace(manifest, version=version, parts=(*left, *new))
        commit(self._root, after, replaced=merged)
        remove_unnamed(self._root, after, _SUFFIX)
        return version

    def _write(
        self, table: str, version: int, query: str, parameters: dict[str, Any]
    ) -> Iterator[Part]:
        path = self._root / f"{table}-{version:010}{_SUFFIX}"
        if rows := tables.write(self._database, path, query, parameters):
            yield sealed_part(path, table, rows)


@contextmanager
def _disk_trouble(what: str) -> Iterator[None]:
    try:
        yield
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise TransientError(f"{what}: {error}") from error
