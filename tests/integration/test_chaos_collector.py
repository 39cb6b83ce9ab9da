"""Masters that take everything: each entry once, whatever happens to replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decisions import decision, publish

from chaos.collector import Collector
from chaos.proxy import Proxy
from chaos.servers import Server, wait_until
from streams.keys import Keys

if TYPE_CHECKING:
    from pathlib import Path

KEYS = Keys()
NAME = "development-master"


def test_lost_replies_neither_hide_nor_double_anything(tmp_path: Path) -> None:
    ids: list[str] = []
    with Server(tmp_path) as server, server.client() as client, Proxy(server.socket) as proxy:

        def all_lost() -> bool:
            ids.append(f"t-{len(ids)}")
            for stream in (KEYS.master(NAME), KEYS.decisions):
                publish(client, stream, [decision(ids[-1])])
            return proxy.injected["lost reply"] == 6

        with Collector(proxy.url, [KEYS], [NAME]) as collector:
            proxy.lose_replies(3, "XREADGROUP")
            proxy.lose_replies(3, "XACK")
            wait_until(all_lost, "six replies lost")
            wait_until(lambda: collector.finished == len(ids), "all is taken")
            wait_until(lambda: collector.empty, "all is acknowledged")
            assert collector.errors == 6
    outputs = collector.outputs()
    assert outputs.masters == {NAME: ids}
    assert outputs.decisions == ids
    assert not collector.repeated()
    assert not outputs.mislaid


def test_a_task_decided_twice_is_told(tmp_path: Path) -> None:
    with Server(tmp_path) as server, server.client() as client:
        with Collector(server.url, [KEYS], [NAME]) as collector:
            publish(client, KEYS.master(NAME), [decision("a"), decision("b"), decision("a")])
            misled = decision("c", selected_master="security-master")
            publish(client, KEYS.master(NAME), [misled])
            wait_until(lambda: len(collector.outputs().masters[NAME]) == 4, "all is taken")
        ids = [entry_id for entry_id, _ in client.xrange(KEYS.master(NAME))]
    assert collector.repeated() == {"a": [ids[0], ids[2]]}
    assert collector.outputs().mislaid == ["c"]
