"""Fill a peer's queue through its own client: `python -m bench.peers.preload MODULE N`.

The module is imported by the name its worker uses, because frameworks name tasks after modules.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys

if __name__ == "__main__":
    module, count = sys.argv[1], int(sys.argv[2])
    filling = importlib.import_module(module).preload(count)
    if inspect.iscoroutine(filling):
        asyncio.run(filling)
