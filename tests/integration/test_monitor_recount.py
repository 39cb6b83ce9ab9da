"""What the monitor says against a count of the raw streams by plain JSON and XRANGE."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from cortex_program import succeed
from decisions import decision, publish

from contracts.messages import RolloutConfig
from router.assignment import bucket
from streams.control import set_config
from streams.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

KEYS = Keys()
MASTERS = ["development-master", "security-master", "cicd-master"]
COUNT = 50_000


def populate(client: Redis, chance: random.Random) -> None:
    """Two configurations, several masters, outcomes of every kind, and entries of nobody."""
    for version, share in ((1, 0.1), (2, 0.25)):
        set_config(
            client,
            KEYS,
            expected_version=None,
            changes={"percentage": repr(share)},
            who="test",
            why="",
            defaults=RolloutConfig(),
        )
        numbers = range((version - 1) * COUNT // 2, version * COUNT // 2)
        publish(client, KEYS.decisions, (one(n, version, share, chance) for n in numbers))
        client.xadd(KEYS.decisions, {"not": "ours"})
        with client.pipeline(transaction=False) as pipeline:
            for number in numbers:
                for _ in range(chance.choice((0, 1, 1, 2))):
                    pipeline.xadd(KEYS.outcomes, outcome(number, chance))
            pipeline.execute()


def one(number: int, version: int, share: float, chance: random.Random) -> Any:  # noqa: ANN401
    task_id = f"t-{number}"
    treated = bucket("router", task_id) < share * 10_000
    more: dict[str, object] = {"fallback_reason": "abstained"} if chance.random() < 0.01 else {}
    if chance.random() < 0.02:
        more["assignment"] = "forced"
    return decision(
        task_id,
        selected_master=chance.choice(MASTERS),
        method="neural" if treated else "rule-based",
        ab_test_group="treatment" if treated else "control",
        confidence=chance.random(),
        latency_ms=round(chance.lognormvariate(1, 1), 3),
        context_status=chance.choice(["ok", "ok", "ok", "empty", "disabled"]),
        config_version=version,
        **more,
    )


def outcome(number: int, chance: random.Random) -> Any:  # noqa: ANN401
    fields = {
        "task_id": f"t-{number}",
        "master": chance.choice(MASTERS),
        "outcome": chance.choice(["success", "success", "failed", "rerouted", "nonsense"]),
    }
    if fields["outcome"] == "rerouted" and chance.random() < 0.5:
        fields["correct_master"] = chance.choice(MASTERS)
    return fields


def entries(client: Redis, stream: str, since: int, until: int) -> list[dict[str, str]]:
    raw = cast("Any", client).execute_command("XRANGE", stream, since, f"({until}-0")
    return [{k.decode(): v.decode() for k, v in dict(fields).items()} for _, fields in raw]


def right_masters(outcomes: Iterable[dict[str, str]]) -> dict[str, list[tuple[str, bool]]]:
    """By task, what each outcome says: this master is, or is not, the right one."""
    said: dict[str, list[tuple[str, bool]]] = {}
    for each in outcomes:
        kind, listed = each["outcome"], said.setdefault(each["task_id"], [])
        if kind == "success":
            listed.append((each["master"], True))
        elif kind == "rerouted" and "correct_master" in each:
            listed.append((each["correct_master"], True))
        elif kind == "rerouted":
            listed.append((each["master"], False))
    return said


def verdict(master: str, said: list[tuple[str, bool]]) -> bool | None:
    for named, is_right in reversed(said):
        if is_right:
            return named == master
        if named == master:
            return False
    return None


def recount(rows: list[dict[str, Any]], said: dict[str, list[tuple[str, bool]]]) -> dict[str, Any]:
    verdicts = [verdict(row["selected_master"], said.get(row["task_id"], [])) for row in rows]
    known = [each for each in verdicts if each is not None]
    neural = len([row for row in rows if row["method"] == "neural"])
    sought = [row for row in rows if row["context_status"] != "disabled"]
    latency = sorted(row["latency_ms"] for row in rows)
    return {
        "routes": len(rows),
        "ml_routes": neural,
        "share": len(rows) / COUNT,
        "ml_share": neural / len(rows),
        "mean_confidence": math.fsum(row["confidence"] for row in rows) / len(rows),
        "known": len(known),
        "right": sum(known),
        "accuracy": sum(known) / len(known),
        "context_hit_share": len([r for r in sought if r["context_status"] == "ok"]) / len(sought),
        "latency_ms": {
            f"p{percent}": latency[-(-percent * len(latency) // 100) - 1]
            for percent in (50, 95, 99)
        },
    }


def test_it_agrees_exactly_with_a_recount(redis_client: Redis, redis_url: str) -> None:
    populate(redis_client, random.Random(1))

    seen = json.loads(succeed(redis_url, "monitor", "--json", "--window", "1h"))

    since, until = seen["since_ms"], seen["until_ms"]
    decided = entries(redis_client, KEYS.decisions, since, until)
    rows = [json.loads(each["decision"]) for each in decided if "decision" in each]
    said = right_masters(entries(redis_client, KEYS.outcomes, since, until))
    assert len(rows) == COUNT
    assert seen["complete"]
    whole = recount(rows, said)
    same = {"mean_confidence", "accuracy", "known", "right", "context_hit_share", "latency_ms"}
    assert {name: seen[name] for name in same} == {name: whole[name] for name in same}
    assert (seen["total_routes"], seen["ml_routes"]) == (COUNT, whole["ml_routes"])
    assert seen["rule_based_routes"] == COUNT - whole["ml_routes"]
    assert seen["ml_percentage"] == 100 * whole["ml_share"]
    assert seen["per_arm"] == {
        arm: recount([row for row in rows if row["ab_test_group"] == arm], said)
        for arm in ("control", "treatment")
    }
    assert seen["per_master"] == {
        master: recount([row for row in rows if row["selected_master"] == master], said)
        for master in MASTERS
    }
    assert seen["fallbacks"] == Counter(
        row["fallback_reason"] for row in rows if "fallback_reason" in row
    )
    counted = [row for row in rows if "assignment" not in row]
    balance = seen["balance"]
    assert balance["units"] == len(counted)
    assert balance["not_counted"] == COUNT - len(counted)
    assert balance["treated"] == sum(row["ab_test_group"] == "treatment" for row in counted)
    shares = Counter({1: 0.1, 2: 0.25}[row["config_version"]] for row in counted)
    expected = math.fsum(share * n for share, n in sorted(shares.items())) / len(counted)
    assert balance["expected"] == expected
    assert balance["verdict"] == "ok"
    assert sum(each["routes"] for each in seen["series"]) == COUNT


def test_it_looks_again_and_reads_only_what_is_new(redis_client: Redis) -> None:
    from ops.monitor_reading import WindowReader  # noqa: PLC0415 - what the command uses

    reader = WindowReader(redis_client, (KEYS,), RolloutConfig(), 3_600, 100)
    publish(redis_client, KEYS.decisions, [decision(f"t-{n}") for n in range(60)])
    first = settled(redis_client, reader)
    assert (len(first.decisions), first.complete) == (60, True)
    publish(redis_client, KEYS.decisions, [decision(f"t-{n}") for n in range(60, 120)])
    redis_client.xtrim(KEYS.decisions, maxlen=60, approximate=False)
    second = settled(redis_client, reader)
    assert [seen.task_id for _, seen in second.decisions] == [f"t-{n}" for n in range(120)]
    publish(redis_client, KEYS.decisions, [decision(f"t-{n}") for n in range(120, 300)])
    third = settled(redis_client, reader)
    assert (len(third.decisions), third.complete) == (100, False)
    assert third.decisions[-1][1].task_id == "t-299"


def settled(client: Redis, reader: Any) -> Any:  # noqa: ANN401
    """Look when the moment of the last entry has passed: a window is half-open."""
    last = int(cast("Any", client.xinfo_stream(KEYS.decisions))["last-generated-id"].split(b"-")[0])
    while client.time()[0] * 1_000 + client.time()[1] // 1_000 <= last:
        pass
    return reader.look()
