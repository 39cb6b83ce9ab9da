"""`cortex model`: the registry of models, and which of them serves; workers follow in a second."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from registry.changes import Change
    from registry.registry import Registry

app = typer.Typer(no_args_is_help=True, help="List, check and exchange models.")

Name = Annotated[str, typer.Argument(metavar="VERSION", help="A version or an alias.")]
Why = Annotated[str, typer.Option(help="The reason, for the history.")]
Who = Annotated[str | None, typer.Option(help="Default: the user of this shell.")]


@app.command("list")
def list_models(*, as_json: AsJson = False) -> None:
    """List every version with what it serves as, oldest first."""
    from ops.output import print_json, print_table

    registry = _registry()
    found = registry.versions()
    if as_json:
        print_json({"aliases": registry.aliases(), "versions": found})
        return
    print_table(
        ("version", "serves as", "created", "bytes", "data", "problem"),
        [
            (
                each.version,
                ", ".join(each.aliases) or None,
                each.created_at,
                each.bytes,
                each.data_fingerprint[:12],
                each.problem,
            )
            for each in found
        ],
    )


@app.command()
def show(version: Name = "champion", *, as_json: AsJson = False) -> None:
    """Show what a model was made of and what was measured, after verifying it."""
    import msgspec

    from ops.output import print_json, print_table
    from registry.folder import CONFIG, METRICS, read_file, verify

    folder = _registry().path(version)
    manifest = verify(folder)
    config, metrics = (
        msgspec.json.decode(read_file(folder, name, manifest), type=dict[str, object])
        for name in (CONFIG, METRICS)
    )
    if as_json:
        print_json({"manifest": manifest, "config": config, "metrics": metrics})
        return
    rows: list[tuple[str, object]] = [
        ("version", manifest.version),
        ("created", manifest.created_at),
        ("data", manifest.data_fingerprint),
        ("bytes", manifest.size),
        *config.items(),
        *metrics.items(),
    ]
    print_table(("model", ""), rows)


@app.command()
def verify(
    model: Annotated[
        str | None, typer.Argument(help="A folder, a version or an alias; default: all there are.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check every byte, and that the model could decide here: for these masters, this encoder."""
    from contracts.errors import CortexError, FatalError
    from ops.output import print_json, print_line

    found: dict[str, str | None] = {}
    for name, folder in _folders(model):
        try:
            _check(folder)
            found[name] = None
        except CortexError as error:
            found[name] = str(error)
    if as_json:
        print_json({name: {"ok": why is None, "problem": why} for name, why in found.items()})
    else:
        for name, why in found.items():
            print_line(f"{name}: {why or 'ok'}")
    if bad := [why for why in found.values() if why]:
        raise FatalError("; ".join(bad))


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="What `cortex train --output` wrote.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Copy a model into the registry. It serves once it is promoted."""
    from ops.output import print_json, print_line

    version = _registry().add(folder)
    if as_json:
        print_json({"version": version})
    else:
        print_line(version)


@app.command()
def promote(
    version: Annotated[
        str | None, typer.Argument(help="A version or an alias; default: the challenger.")
    ] = None,
    *,
    why: Why = "",
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Make a model the champion: it decides in treatment."""
    registry = _registry()
    _check(registry.path(version or "challenger"))
    _print_change(registry.promote(version, who=_name(who), why=why), as_json=as_json)


@app.command()
def challenge(version: Name, *, why: Why = "", who: Who = None, as_json: AsJson = False) -> None:
    """Make a model the challenger: its opinion is recorded, and decides nothing."""
    registry = _registry()
    _check(registry.path(version))
    _print_change(registry.challenge(version, _name(who), why), as_json=as_json)


@app.command()
def retire(*, why: Why = "", who: Who = None, as_json: AsJson = False) -> None:
    """Have no challenger any more."""
    _print_change(_registry().retire(_name(who), why), as_json=as_json)


@app.command()
def rollback(*, why: Why = "", who: Who = None, as_json: AsJson = False) -> None:
    """Make the champion before the last promotion the champion again."""
    _print_change(_registry().rollback(_name(who), why), as_json=as_json)


@app.command()
def history(*, as_json: AsJson = False) -> None:
    """Show who changed what, when and why, oldest first."""
    from ops.output import print_json, print_table

    changes = _registry().history()
    if as_json:
        print_json(changes)
        return
    print_table(
        ("number", "at", "who", "did", "why", "champion", "challenger", "previous"),
        [
            (
                each.number,
                each.at,
                each.who,
                each.action,
                each.why,
                each.champion,
                each.challenger,
                each.previous,
            )
            for each in changes
        ],
    )


def _registry() -> "Registry":
    """Return the registry that workers with these settings follow, whether it is there or not."""
    from contracts.errors import FatalError
    from ops.session import read_settings
    from registry.folder import MANIFEST
    from registry.registry import Registry

    settings = read_settings()
    root = Path(settings.model_path or Path(settings.data_dir, "models"))
    if (root / MANIFEST).exists():
        raise FatalError(f"MODEL_PATH: {root} is one model, not a registry of models")
    return Registry(root)


def _folders(model: str | None) -> "list[tuple[str, Path]]":
    if model is None:
        registry = _registry()
        return [(each.version, registry.path(each.version)) for each in registry.versions()]
    if Path(model).is_dir():
        return [(model, Path(model))]
    return [(model, _registry().path(model))]


def _check(folder: Path) -> None:
    """Refuse what workers with these settings would refuse."""
    from ops.session import read_settings
    from registry.opening import open_model
    from router.masters import Masters
    from vectors.model_source import resolve

    settings = read_settings()
    masters = Masters.parse(settings.masters_text)
    open_model(folder, masters=masters.names, embedder=resolve(settings.encoder).name)


def _print_change(change: "Change", *, as_json: bool) -> None:
    from ops.output import print_json, print_table

    if as_json:
        print_json(change)
    else:
        print_table(("alias", "version"), change.aliases.items())


def _name(who: str | None) -> str:
    from ops.session import current_user

    return who or current_user()
