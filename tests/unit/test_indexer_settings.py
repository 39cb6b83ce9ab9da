from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import FatalError
from contracts.settings import load, redacted
from indexer.settings import Settings


def test_one_root_by_default_several_when_named(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()

    assert load(Settings, {}).sources == {"code": Path.cwd()}
    one = load(Settings, {"CORTEX_ROOT": str(tmp_path), "INDEX_COLLECTION": "app"})
    assert one.sources == {"app": tmp_path}
    two = load(Settings, {"CORTEX_ROOTS": f"code={tmp_path}, docs={tmp_path}/docs"})
    assert two.sources == {"code": tmp_path, "docs": tmp_path / "docs"}


@pytest.mark.parametrize(
    "environment",
    [
        {"CORTEX_ROOT": "/nowhere"},
        {"CORTEX_ROOTS": "code"},
        {"CORTEX_ROOTS": "=/"},
        {"MAX_FILE_BYTES": "many"},
        {"SNAPSHOT_INTERVAL_S": "0"},
    ],
)
def test_bad_settings_stop_the_process_with_one_line(environment: dict[str, str]) -> None:
    with pytest.raises(FatalError, match=next(iter(environment))[:11]):
        _ = load(Settings, environment).sources


def test_settings_are_printed_without_passwords() -> None:
    settings = load(Settings, {"REDIS_URL": "redis://user:secret@host/0"})

    assert "secret" not in str(redacted(settings))


def test_paths_default_into_the_data_directory() -> None:
    settings = load(Settings, {"CORTEX_DATA_DIR": "data"})

    assert settings.store == Path("data/store")
    assert load(Settings, {"VECTORSTORE_PATH": "elsewhere"}).store == Path("elsewhere")
