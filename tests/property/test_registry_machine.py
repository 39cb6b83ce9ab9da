"""A registry against a model of it: whatever is done in whatever order, it is what it should be."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.errors import FatalError
from registry.registry import Registry
from tests import models

NUMBERS = st.integers(0, 2)


class RegistryMachine(RuleBasedStateMachine):
    """The model is three names, which versions are there, and which of them are damaged."""

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.power = mock.patch("os.fsync")  # does not fail in this model; waiting for it is long
        self.power.start()
        self.registry = Registry(self.home / "models")
        self.names = [models.write(self.home / f"staged{n}", seed=n) for n in range(3)]
        self.there = {self.registry.add(self.home / "staged0")}
        self.damaged: set[str] = set()
        self.champion: str | None = None
        self.challenger: str | None = None
        self.previous: str | None = None
        self.changes = 0
        self.token, _ = self.registry.aliases_if_changed(None) or (None, {})

    def teardown(self) -> None:
        self.power.stop()
        shutil.rmtree(self.home)

    @rule(number=NUMBERS)
    def add(self, number: int) -> None:
        assert self.registry.add(self.home / f"staged{number}") == self.names[number]
        self.there.add(self.names[number])

    @rule(number=NUMBERS)
    def promote(self, number: int) -> None:
        self._promote(self.names[number], self.names[number])

    @rule()
    def promote_the_challenger(self) -> None:
        self._promote(self.challenger, None)

    @rule(number=NUMBERS)
    def challenge(self, number: int) -> None:
        name = self.names[number]
        if self._serves(name, self.challenger) and name != self.champion:
            self.registry.challenge(name, "test")
            self._changed(self.champion, name, self.previous)
        else:
            with pytest.raises(FatalError):
                self.registry.challenge(name, "test")

    @rule()
    def retire(self) -> None:
        self.registry.retire("test")
        self._changed(self.champion, None, self.previous)

    @rule()
    def roll_back(self) -> None:
        name = self.previous
        if name is None or name in self.damaged:
            with pytest.raises(FatalError):
                self.registry.rollback("test")
        else:
            self.registry.rollback("test")
            self._changed(name, self.challenger, None)

    @precondition(lambda self: len(self.damaged) < 2)
    @rule(number=NUMBERS)
    def damage(self, number: int) -> None:
        if (name := self.names[number]) in self.there:
            head = self.registry.path(name) / "head.safetensors"
            head.chmod(0o644)
            head.write_bytes(b"\0" * head.stat().st_size)
            self.damaged.add(name)

    @rule()
    def another_process_looks(self) -> None:
        self.registry = Registry(self.registry.root)

    @invariant()
    def it_is_what_it_should_be(self) -> None:
        names = {
            "champion": self.champion,
            "challenger": self.challenger,
            "previous": self.previous,
        }
        expected = {alias: version for alias, version in names.items() if version}
        assert self.registry.aliases() == expected
        assert {each.version for each in self.registry.versions()} == self.there
        history = self.registry.history()
        assert [each.number for each in history] == [*range(1, self.changes + 1)]
        assert (history[-1].aliases if history else {}) == expected

    def _promote(self, name: str | None, given: str | None) -> None:
        if name is None or not self._serves(name, self.champion):
            with pytest.raises(FatalError):
                self.registry.promote(given, who="test")
        else:
            self.registry.promote(given, who="test")
            if name != self.champion:
                challenger = None if name == self.challenger else self.challenger
                self._changed(name, challenger, self.champion)

    def _serves(self, name: str, already: str | None) -> bool:
        return name in self.there and (name == already or name not in self.damaged)

    def _changed(self, champion: str | None, challenger: str | None, previous: str | None) -> None:
        if challenger == champion:
            challenger = None
        changed = (champion, challenger, previous) != (
            self.champion,
            self.challenger,
            self.previous,
        )
        self.champion, self.challenger, self.previous = champion, challenger, previous
        seen = self.registry.aliases_if_changed(self.token)
        assert (seen is not None) is changed
        if seen:
            self.changes += 1
            self.token = seen[0]


RegistryMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestRegistry = RegistryMachine.TestCase
