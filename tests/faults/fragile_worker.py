"""A worker that is killed by one kind of task: `python fragile_worker.py SOCKET_URL [NAME]`."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from router.masters import Masters
from router.policy import Policy
from router.rules import Rules
from streams.connect import connect
from streams.consumer import Consumer
from streams.keys import WORKERS, Keys
from streams.lane import Lane
from streams.pump import Pump
from worker.handle import Handler
from worker.loop import run
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.entry import Entry, Settlement

DEADLY = b"this task kills its worker"


def main() -> None:
    settings, keys = Settings(), Keys()
    masters = Masters.parse(settings.masters_text)
    policy = Policy(masters, Rules.parse(settings.rules_text, masters), None, settings.fresh_config)
    handler = Handler(policy, None, settings.max_deliveries)

    def handle(entries: Sequence[Entry]) -> Sequence[Settlement]:
        for entry in entries:
            if entry.attempt <= settings.max_deliveries and entry.fields[b"description"] == DEADLY:
                os.kill(os.getpid(), signal.SIGKILL)
        return handler(entries)

    client = connect(sys.argv[1])
    name = sys.argv[2] if sys.argv[2:] else settings.name
    consumer = Consumer(client, keys.task_streams, WORKERS, name, lease_ms=300)
    pump = Pump([Lane(consumer, keys)], client)
    pump.start()
    run(pump, lambda: handle, lambda: None)


if __name__ == "__main__":
    main()
