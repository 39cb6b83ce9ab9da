"""Whether encoder and models could be loaded, and whether workers run the ones they should."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from contracts.errors import CortexError
from ops.checks.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ops.checks.ground import Ground

_RECENT_MS = 300_000
_FOLLOWED_MS = 2_000  # within one second workers follow, by the clocks of two machines
_DECISIONS = 200  # of each partition, the newest


class _Made(msgspec.Struct):
    """What a decision says of what made it."""

    model_version: str | None
    rules_version: str


def encoder(ground: Ground) -> Iterator[Finding]:
    """Look at the export of the encoder, which workers and indexers run."""
    from vectors.exported import default_cache_dir, folder_name, read_verified
    from vectors.model_source import resolve

    try:
        name = resolve(ground.settings.encoder).name
        folder = default_cache_dir() / folder_name(name)
        if folder.exists():
            yield Finding("encoder", "ok", read_verified(folder).identity)
            return
    except CortexError as error:
        yield Finding("encoder", "fail", str(error), "correct CORTEX_ENCODER, or delete the export")
    else:
        yield Finding(
            "encoder",
            "warn",
            f"{name} is not exported on this machine: the first to need it waits for a minute",
            "run any cortex search, or build the export into the image",
        )


def models(ground: Ground) -> Iterator[Finding]:
    """Verify every byte of the models that serve, and that they are for these masters."""
    from registry.opening import check_model
    from vectors.model_source import resolve
    from worker.models import arm_models

    if not ground.config.enable_neural:
        yield Finding("models", "ok", "none needed: neural routing is switched off")
        return
    try:
        folders = _folders(ground)
    except CortexError as error:
        yield Finding("models", "fail", str(error), "see cortex model list; correct MODEL_PATH")
        return
    if "champion" not in folders:
        yield Finding(
            "models", "warn", "no champion: rules alone decide", "cortex model promote VERSION"
        )
    for name in sorted({*arm_models(ground.config)} - folders.keys()):
        yield Finding(
            "models", "fail", f"{name}: an arm's model, and not here", "cortex rollout set --arm"
        )
    embedder = resolve(ground.settings.encoder).name
    for alias, folder in folders.items():
        try:
            version = check_model(folder, masters=ground.masters.names, embedder=embedder).version
        except CortexError as error:
            yield Finding(
                "models",
                "fail" if alias == "champion" else "warn",
                f"{alias}: {error}",
                "cortex model rollback, or promote another one; cortex model list shows them",
            )
        else:
            yield Finding("models", "ok", f"{alias}: {version}, verified")


def versions(ground: Ground) -> Iterator[Finding]:
    """Compare what workers have decided with lately with what they should be running."""
    from router.rules import Rules

    since = max(ground.now_ms - _RECENT_MS, _last_change_ms(ground) + _FOLLOWED_MS)
    made = list(_made(ground, since))
    asked = {each.model_version for each in made if each.model_version}
    rules = {each.rules_version for each in made}
    wanted = _deciding(ground)
    ours = Rules.parse(ground.settings.rules_text, ground.masters).version
    remedy = "start all workers anew, with the same settings and a registry they share"
    wrong = [
        f"{what} of decisions: {', '.join(sorted(found))}; here: {', '.join(sorted(here)) or None}"
        for what, found, here in (("model", asked, wanted), ("rules", rules, {ours}))
        if found - here
    ]
    if wrong:
        yield Finding("versions", "warn", "; ".join(wrong), remedy)
    elif made:
        yield Finding("versions", "ok", f"{len(made)} decisions agree with what is here")
    else:
        yield Finding("versions", "ok", "no decisions to compare with since the last change")


def _folders(ground: Ground) -> Mapping[str, Path]:
    from worker.model_folders import model_folders
    from worker.models import arm_models

    return model_folders(ground.settings).find(ground.config.model, arm_models(ground.config))


def _deciding(ground: Ground) -> set[str]:
    from registry.folder import read_manifest
    from worker.models import arm_models

    folders = _folders(ground)
    roles = {"champion", *arm_models(ground.config)} & folders.keys()
    return {read_manifest(folders[role]).version for role in roles}


def _last_change_ms(ground: Ground) -> float:
    """When workers were last given another model, in milliseconds since 1970; 0 if never."""
    from registry.registry import Registry
    from streams.control import read_log

    settings = ground.settings
    registry = Registry(Path(settings.model_path or Path(settings.data_dir, "models")))
    at = [change.at for change in islice(read_log(ground.client, ground.keys), 1)]
    at += [change.at for change in registry.history()[-1:]]
    return max((datetime.fromisoformat(each).timestamp() * 1_000 for each in at), default=0.0)


def _made(ground: Ground, since_ms: float) -> Iterator[_Made]:
    from streams import ranges

    decoder = msgspec.json.Decoder(_Made)
    for keys in ground.session.parts:
        newest = ranges.backward(ground.client, keys.decisions, str(max(0, int(since_ms))))
        for _, fields in islice(newest, _DECISIONS):
            try:
                yield decoder.decode(fields.get(b"decision", b""))
            except msgspec.DecodeError:  # not written by a worker
                continue
