"""What the environment says about rollouts."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from msgspec import Struct, field

from contracts.errors import FatalError
from rollout.stages import Plan, read_plan


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of a rollout.

    Attributes:
        plan_file: the operator's own plan; by default the one beside this module.
    """

    plan_file: str | None = field(name="CORTEX_ROLLOUT", default=None)

    @property
    def plan(self) -> Plan:
        """The plan, the operator's or ours.

        Raises:
            FatalError: it cannot be read, or says something that makes no sense.
        """
        packaged = files("rollout").joinpath("rollout.toml")
        try:
            text = (Path(self.plan_file) if self.plan_file else packaged).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FatalError(f"cannot read {self.plan_file or packaged}: {error}") from error
        try:
            return read_plan(text)
        except FatalError as error:
            raise FatalError(f"{self.plan_file or packaged}: {error}") from error
