"""Every Redis key Cortex uses, in one place."""

from __future__ import annotations

from dataclasses import dataclass

PRIORITIES = ("tasks:high", "tasks", "tasks:low")
WORKERS, INDEXERS, LEARNING, ARCHIVE = "workers", "indexers", "learning", "archive"


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of the wire contract under an optional prefix and, partitioned, a hash tag.

    `Keys(prefix="acme:", partition="3").master("dev")` is `acme:master:{3}:dev`: everything one
    task touches shares one slot.
    """

    prefix: str = ""
    partition: str | None = None

    def _tagged(self, name: str) -> str:
        return (
            f"{self.prefix}{name}"
            if self.partition is None
            else (f"{self.prefix}{name}:{{{self.partition}}}")
        )

    @property
    def tasks(self) -> str:
        """Stream of tasks of normal priority."""
        return self._tagged("tasks")

    @property
    def task_streams(self) -> tuple[str, ...]:
        """The task streams, most urgent first."""
        return tuple(self._tagged(name) for name in PRIORITIES)

    def master(self, name: str) -> str:
        """Stream of decisions for one master."""
        if self.partition is None:
            return f"{self.prefix}master:{name}"
        return f"{self.prefix}master:{{{self.partition}}}:{name}"

    @property
    def decisions(self) -> str:
        """Stream of every decision, without context text."""
        return self._tagged("decisions")

    @property
    def dead(self) -> str:
        """Stream of dead letters."""
        return self._tagged("dead")

    def done(self, task_id: str) -> str:
        """Idempotency key of one task."""
        return f"{self._tagged('done')}:{task_id}"

    def relayed(self, name: str, task_id: str) -> str:
        """Mark of a decision that was moved into another queue of this master."""
        return f"{self.master(name)}:relayed:{task_id}"

    @property
    def outcomes(self) -> str:
        """Stream of what masters report."""
        return f"{self.prefix}outcomes"

    @property
    def files(self) -> str:
        """Stream of file changes."""
        return f"{self.prefix}files"

    def vectors(self, collection: str) -> str:
        """Delta log of one collection."""
        return f"{self.prefix}vectors:{collection}"

    def file_versions(self, collection: str) -> str:
        """Hash path -> version, the compare-and-set that makes each file's commits ordered.

        In the slot of the delta log, since one script writes both.
        """
        return f"{{{self.vectors(collection)}}}:files"

    def snapshot_lease(self, collection: str) -> str:
        """Lease of the one writer of a collection's snapshots."""
        return f"{self.prefix}vectors:{collection}:lease"

    @property
    def embeddings(self) -> tuple[str, str]:
        """Younger and older hash of vectors that indexers share, in one slot."""
        name = f"{{{self.prefix}embeddings}}"
        return f"{name}:young", f"{name}:old"

    @property
    def rollout(self) -> str:
        """Hash with the live configuration."""
        return f"{self.prefix}control:rollout"

    @property
    def control_log(self) -> str:
        """Stream of who changed the live configuration, when and why."""
        return f"{self.prefix}control:log"

    @property
    def rollout_lease(self) -> str:
        """Lease of the one controller of the rollout."""
        return f"{self.prefix}control:rollout:lease"

    @property
    def rollout_failures(self) -> str:
        """What the controller must remember of the present stage, as JSON."""
        return f"{self.prefix}control:rollout:failures"

    @property
    def archive_heads(self) -> str:
        """Hash of where the archive's chains end, by the names of their files."""
        return f"{self.prefix}audit:head"

    @property
    def chores(self) -> str:
        """Whose turn it is to tidy up."""
        return self._tagged("control:chores")
