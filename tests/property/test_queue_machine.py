"""Whatever is done to the queue, in whatever order, every task stays in exactly one place."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chaos.history import Outputs, violations
from chaos.servers import Server
from chaos.simulation import age, one_core
from streams.consumer import Consumer
from streams.dead import list_dead, replay_dead
from streams.entry import Bury, Leave, Publish
from streams.housekeeping import remove_silent_consumers, trim_settled
from streams.keys import WORKERS, Keys
from streams.settle import settle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

    from streams.entry import Entry, Settlement

KEYS = Keys()
MASTERS = ("a", "b")
LEASE_MS = 3_600_000  # beside it, the time a run takes does not count
WINDOW_MS = 1000 * LEASE_MS

workers = st.sampled_from(["w1", "w2", "w3"])
priorities = st.sampled_from(KEYS.task_streams)
endings = st.lists(st.sampled_from(["a", "b", "bury", "leave"]), min_size=4, max_size=4)


class Queue(RuleBasedStateMachine):
    """Workers are what they hold; a step is what one of them, or somebody else, does."""

    def __init__(self, server: Server, client: redis.Redis) -> None:
        super().__init__()
        self.server, self.client = server, client
        self.submitted: Counter[str] = Counter()
        self.held: dict[str, list[Entry]] = {}
        self.members: dict[str, Consumer] = {}
        self.restarts = 0

    @initialize()
    def empty(self) -> None:
        self.client.flushall()
        for name in ("w1", "w2", "w3"):
            self.born(name)

    def born(self, name: str) -> None:
        """Start a worker, of whose namesake the server may still hold something."""
        consumer = Consumer(self.client, KEYS.task_streams, WORKERS, name, LEASE_MS)
        consumer.join()
        consumer.disown()
        self.members[name], self.held[name] = consumer, []

    # -- producers -------------------------------------------------------------------------------

    @rule(stream=priorities, kinds=st.text("tttm", min_size=1, max_size=5))
    def submit(self, stream: str, kinds: str) -> None:
        """Submit tasks, `m` for each that is malformed."""
        for kind in kinds:
            task_id = f"{kind}-{len(self.submitted)}"
            self.client.xadd(stream, {"task_id": task_id})
            self.submitted[task_id] = 1

    @precondition(lambda self: any(each[0] == "t" for each in self.submitted))
    @rule(stream=priorities, data=st.data())
    def submit_again_with_any_priority(self, stream: str, data: st.DataObject) -> None:
        task_id = data.draw(st.sampled_from([each for each in self.submitted if each[0] == "t"]))
        self.client.xadd(stream, {"task_id": task_id})
        self.submitted[task_id] += 1

    # -- workers ---------------------------------------------------------------------------------

    @rule(name=workers, count=st.integers(1, 4))
    def read(self, name: str, count: int) -> None:
        self.held[name] += self.members[name].read(count, 0)

    @rule(name=workers, leases=st.sampled_from([0.5, 1.0, 1.5, 5.0]))
    def claim_later(self, name: str, leases: float) -> None:
        age(self.client, int(leases * LEASE_MS))
        for stale in self.members[name].stale(3):
            if entry := self.members[name].claim(stale):
                self.held[name].append(entry)

    @rule(name=workers)
    def recover(self, name: str) -> None:
        known = {(each.stream, each.id) for each in self.held[name]}
        self.held[name] += self.members[name].recover(known)

    @rule(name=workers)
    def lose_the_reply_of_a_read(self, name: str) -> None:
        self.members[name].read(2, 0)

    @precondition(lambda self: any(self.held.values()))
    @rule(name=workers)
    def renew(self, name: str) -> None:
        self.members[name].renew(self.held[name])

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), how=endings, lost=st.booleans())
    def settle(self, data: st.DataObject, how: list[str], *, lost: bool) -> None:
        name = data.draw(st.sampled_from([name for name, held in self.held.items() if held]))
        batch = [self.outcome(*each) for each in zip(self.held[name], how, strict=False)]
        verdicts = self.carry_out(name, batch)
        if lost:  # the reply: so it is settled again
            again = self.carry_out(name, batch)
            assert not [b for a, b in zip(verdicts, again, strict=True) if a == b == "settled"]
        del self.held[name][: len(batch)]

    def carry_out(self, name: str, batch: list[Settlement]) -> list[str]:
        whose = {"group": WORKERS, "consumer": name, "window_ms": WINDOW_MS}
        return list(settle(self.client, KEYS, batch, **whose))

    def outcome(self, entry: Entry, how: str) -> Settlement:
        task_id = entry.fields[b"task_id"].decode()
        if task_id[0] == "m":
            return Bury(entry, "missing_field", "malformed")
        if how == "bury":
            return Bury(entry, "too_many_deliveries", "killed its workers", task_id)
        if how == "leave":
            return Leave(entry)
        decision = b'{"selected_master":"%s"}' % how.encode()
        return Publish(entry, task_id, how, decision, decision)

    @rule(name=workers)
    def crash(self, name: str) -> None:
        self.born(name)

    @rule(name=workers, held=st.booleans())
    def retire(self, name: str, *, held: bool) -> None:
        if held:
            self.members[name].release(self.held[name])
        self.members[name].leave()
        self.held[name] = []

    # -- everybody else --------------------------------------------------------------------------

    @rule()
    def tidy(self) -> None:
        self.client.script_flush()
        trim_settled(self.client, KEYS.task_streams)
        for stream in KEYS.task_streams:
            remove_silent_consumers(self.client, stream, silent_ms=-1)

    @precondition(lambda self: self.client.exists(KEYS.dead))
    @rule(again=st.booleans())
    def replay(self, *, again: bool) -> None:
        for entry_id, _letter in list(list_dead(self.client, KEYS))[:1]:
            assert replay_dead(self.client, KEYS, entry_id) == "replayed"
            if again:
                assert replay_dead(self.client, KEYS, entry_id) == "gone"

    @precondition(lambda self: self.restarts < 1 and len(self.submitted) > 5)
    @rule(power=st.integers(0, 5))
    def restart_the_server(self, power: int) -> None:
        if power == 0:  # rare: it takes as long as a hundred other steps
            self.restarts += 1
            self.server.kill()
            self.server.start()

    # -- what must hold --------------------------------------------------------------------------

    @invariant()
    def every_task_is_in_exactly_one_place(self) -> None:
        finished = self.finished()
        waiting = self.waiting()
        assert not [each for each, times in finished.items() if times > 1]
        assert not [each for each in self.submitted if not finished[each] + waiting[each]]
        assert all(waiting[each] <= times for each, times in self.submitted.items())
        assert (finished + waiting).keys() <= self.submitted.keys()

    def finished(self) -> Counter[str]:
        outputs = Outputs.read(self.client, KEYS, MASTERS)
        return Counter(
            [*(each for queue in outputs.masters.values() for each in queue), *outputs.dead]
        )

    def waiting(self) -> Counter[str]:
        """Entries that are unread or pending, by task."""
        return Counter(each for stream in KEYS.task_streams for each in self.open_entries(stream))

    def open_entries(self, stream: str) -> Iterator[str]:
        groups = self.client.xinfo_groups(stream) if self.client.exists(stream) else []
        read = groups[0]["last-delivered-id"] if groups else b"0-0"
        pending = self.client.xpending_range(stream, WORKERS, "-", "+", 1000) if groups else []
        handed_out = {each["message_id"] for each in pending}
        for entry_id, fields in self.client.xrange(stream):
            if entry_id in handed_out or ordered(entry_id) > ordered(read):
                yield fields[b"task_id"].decode()

    def teardown(self) -> None:
        """One clean worker finishes what is left."""
        if not self.members:
            return
        self.born("last")
        left = True
        while left:
            age(self.client, 2 * LEASE_MS)
            last = self.members["last"]
            left = [each for s in last.stale(1000) if (each := last.claim(s))] + last.read(1000, 0)
            self.carry_out("last", [self.outcome(each, "a") for each in left])
        outputs = Outputs.read(self.client, KEYS, MASTERS)
        assert violations(dict.fromkeys(self.submitted, "ok"), outputs) == []


def ordered(entry_id: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in entry_id.split(b"-"))


def test_no_order_of_events_loses_or_doubles_a_task(tmp_path: Path) -> None:
    with (
        one_core(),
        Server(tmp_path, "--appendfsync", "always") as server,
        server.client() as client,
    ):
        run_state_machine_as_test(
            lambda: Queue(server, client),
            settings=settings(
                max_examples=60,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
