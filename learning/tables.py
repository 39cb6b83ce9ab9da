"""The data set's two tables in DuckDB: how rows become Parquet, and how they are read and joined.

Every row carries the version with which it came, and is known by its stream, its entry id and its
task: appended twice, it counts once.
"""

from __future__ import annotations

import glob
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec

from learning.records import DecisionRecord, OutcomeRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from msgspec import Struct

    from learning.examples import Example

DECISIONS, OUTCOMES = "decisions", "outcomes"
TABLES: dict[str, type[Struct]] = {DECISIONS: DecisionRecord, OUTCOMES: OutcomeRecord}

_MEMORY = "512MB"  # what does not fit is spilled beside the data
_SKEW_MS = 60_000  # the clocks of a cluster's servers are closer than this to each other
_SQL_TYPES: dict[object, str] = {
    str: "VARCHAR",
    str | None: "VARCHAR",
    int: "UBIGINT",
    float: "DOUBLE",
    float | None: "DOUBLE",
    dict[str, float]: "MAP(VARCHAR, DOUBLE)",
}


def connect(root: Path) -> duckdb.DuckDBPyConnection:
    """Open a database in memory that spills into a folder and loads no code from anywhere."""
    return duckdb.connect(
        config={
            "memory_limit": _MEMORY,
            "temp_directory": str(root / "spill"),
            "threads": 1,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )


def new_rows(table: str, records: Sequence[Struct], version: int) -> tuple[str, dict[str, Any]]:
    """Query for records as rows that came with `version`.

    Returns:
        SQL text and the parameters it takes.
    """
    schema = msgspec.json.encode([_columns(table)]).decode()
    query = f"""
        SELECT unnest(from_json_strict($records::JSON, '{schema}'), max_depth := 2),
            {version}::UBIGINT AS version
    """
    return query, {"records": msgspec.json.encode(records).decode()}


def write(
    database: duckdb.DuckDBPyConnection, path: Path, query: str, parameters: dict[str, Any]
) -> int:
    """Write what a query finds as a Parquet file; returns how many rows that is.

    Raises:
        duckdb.Error: it could not be written.
    """
    database.sql(query, params=parameters).write_parquet(str(path), compression="zstd")
    metadata = "SELECT sum(num_rows)::BIGINT FROM parquet_file_metadata($path)"
    # A result that is not read to its end keeps the connection from being used.
    ((count,),) = database.execute(metadata, {"path": glob.escape(str(path))}).fetchall()
    return int(count)


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write training examples as a Parquet file.

    Raises:
        OSError: it could not be written.
    """
    columns = {"text": "VARCHAR", "label": "VARCHAR", "weight": "DOUBLE", "source": "VARCHAR"}
    schema = msgspec.json.encode([columns]).decode()
    query = f"SELECT unnest(from_json($examples::JSON, '{schema}'), max_depth := 2)"
    full = [msgspec.structs.asdict(example) for example in examples]
    try:
        with duckdb.connect() as database:
            given = {"examples": msgspec.json.encode(full).decode()}
            write(database, path, query, given)
    except duckdb.IOException as error:
        raise OSError(0, str(error)) from error


def rows(table: str, paths: Iterable[Path], version: int) -> tuple[str, dict[str, Any]]:
    """Query for each row of a table once, with the version with which it first came.

    Returns:
        SQL text and the parameters it takes.
    """
    names = [*_columns(table), "version"]
    typed = {**_columns(table), "version": "UBIGINT"}
    nothing = ", ".join(f"NULL::{typed[name]} AS {name}" for name in names)
    files = [glob.escape(str(path)) for path in paths]
    # The empty row set gives columns their types where there is no part, or an older one lacks one.
    some = f"UNION ALL BY NAME FROM read_parquet(${table}, union_by_name := true)" if files else ""
    query = f"""
        SELECT DISTINCT ON (stream, entry_id, task_id) {", ".join(names)}
        FROM (SELECT {nothing} WHERE false {some})
        WHERE version <= {version}
        ORDER BY stream, entry_id, task_id, version
    """  # noqa: S608 - made of our own names
    return query, {table: files} if files else {}


def reported(decisions: str, outcomes: str, selected: str) -> str:
    """Query for decisions beside the last outcome of each, in the order of the decisions.

    An outcome belongs to the last decision of its task that came before it.

    Args:
        decisions: query for them, as `rows` gives it.
        outcomes: query for them.
        selected: what to select of `d` and `o`.
    """
    return f"""
        WITH d AS ({decisions}), o AS ({outcomes}),
        paired AS (
            SELECT d, o FROM o JOIN d ON o.task_id = d.task_id
                AND d.at_ms::HUGEINT <= o.at_ms::HUGEINT + {_SKEW_MS}
            QUALIFY row_number() OVER (PARTITION BY {_key("o")} ORDER BY {_time("d", "DESC")}) = 1
        ),
        last AS (
            SELECT d, o FROM paired
            QUALIFY row_number() OVER (PARTITION BY {_key("d")} ORDER BY {_time("o", "DESC")}) = 1
        )
        SELECT {selected} FROM last ORDER BY {_time("d")}
    """  # noqa: S608 - made of our own names


def counts(decisions: str, outcomes: str) -> str:
    """Query for how many decisions, outcomes, and decisions with an outcome there are."""
    return f"""
        SELECT (SELECT count(*) FROM ({decisions})), (SELECT count(*) FROM ({outcomes})),
            (SELECT count(*) FROM ({reported(decisions, outcomes, "1")}))
    """  # noqa: S608 - made of our own names


def fields(row: str, table: str) -> str:
    """Name the columns of a row, in the order of the fields of its record."""
    return ", ".join(f"{row}.{name}" for name in _columns(table))


def _columns(table: str) -> dict[str, str]:
    return {each.name: _SQL_TYPES[each.type] for each in msgspec.structs.fields(TABLES[table])}


def _key(row: str) -> str:
    return f"{row}.stream, {row}.entry_id, {row}.task_id"


def _time(row: str, direction: str = "ASC") -> str:
    sequence = f"split_part({row}.entry_id, '-', 2)::UBIGINT"
    return ", ".join(f"{each} {direction}" for each in (f"{row}.at_ms", sequence, f"{row}.stream"))
