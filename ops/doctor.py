"""`cortex doctor`: what is wrong, looked at one by one, and what to do about it."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ops.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ops.checks.finding import Finding
    from ops.checks.ground import Ground

    Check = Callable[[Ground], Iterable[Finding]]

_UNKNOWN = "see to what failed above first"


def doctor(*, as_json: AsJson = False) -> None:
    """Check everything and say what to do; exits with 1 if anything does not work."""
    import typer

    from ops.checks.finding import GRAVITY
    from ops.output import print_json

    findings = list(examine())
    worst = max((finding.verdict for finding in findings), key=GRAVITY.index)
    if as_json:
        print_json({"verdict": worst, "findings": findings})
    else:
        _show(findings)
    if worst == "fail":
        raise typer.Exit(1)


def examine() -> "Iterator[Finding]":
    """Look at everything, in the environment of this process; nothing here raises."""
    from contracts.errors import CortexError, FatalError
    from ops.checks.finding import Finding
    from ops.checks.ground import Ground
    from ops.session import open_session, read_settings

    try:
        settings = read_settings()
    except FatalError as error:
        yield Finding("settings", "fail", str(error), "correct the variable")
        return
    yield Finding("settings", "ok", "every variable can be read")
    with ExitStack() as stack:
        session = None
        try:
            session = stack.enter_context(open_session(settings))
        except CortexError as error:
            yield Finding("redis", "fail", str(error), "start Redis, or correct REDIS_URL")
        else:
            yield Finding("redis", "ok", "it answers")
        ground = Ground(settings, session)
        for name, check in _checks().items():
            yield from _guarded(name, check, ground)


def _checks() -> "dict[str, Check]":
    from ops.checks import (
        configuration,
        drift,
        index,
        letters,
        models,
        readers,
        server,
        work,
    )

    return {
        "server": server.version,
        "memory": server.memory,
        "eviction": server.eviction,
        "persistence": server.persistence,
        "masters-file": configuration.masters,
        "rules-file": configuration.rules,
        "live-configuration": configuration.live,
        "tasks": work.tasks,
        "masters": work.masters,
        "dead-letters": letters.dead_letters,
        "workers": readers.workers,
        "indexers": readers.indexers,
        "learners": readers.learners,
        "snapshots": index.snapshots,
        "collections": index.collections,
        "delta-log": index.log_gaps,
        "index-age": index.ages,
        "encoder": models.encoder,
        "models": models.models,
        "versions": models.versions,
        "drift": drift.drift,
    }


def _guarded(name: str, check: "Check", ground: "Ground") -> "Iterator[Finding]":
    """Run a check; what keeps it from looking is what it says."""
    from contracts.errors import CortexError
    from ops.checks.finding import Finding
    from streams.errors import SERVER_TROUBLE

    try:
        yield from check(ground)
    except (*SERVER_TROUBLE, CortexError, OSError, ModuleNotFoundError) as error:
        yield Finding(name, "unknown", " ".join(str(error).split()), _UNKNOWN)


def _show(findings: "Iterable[Finding]") -> None:
    from ops.output import print_line, print_table

    findings = list(findings)
    print_table(
        ("check", "verdict", "what was seen"),
        [(each.check, each.verdict, each.detail) for each in findings],
    )
    if remedies := [each for each in findings if each.remedy]:
        print_line("")
        for each in remedies:
            print_line(f"{each.check}: {each.remedy}")
