"""What is done to a good store to make it a hostile one, and what is said of it."""

from __future__ import annotations

import os

DEEP = "[" * 200_000 + "]" * 200_000

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"


def column(table: str, name: str, sql: str, where: str = "true") -> str:
    """SQL that puts something into the first row of a table."""
    return f"UPDATE {table} SET {name} = {sql} WHERE rowid = (SELECT min(rowid) FROM {table} WHERE {where})"


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


REFUSED = {
    "study that is no JSON": (column("runs", "study", "'{'"), "table runs, row 1, column study"),
    "study that is a list": (column("runs", "study", "'[]'"), "column study"),
    "study that is null": (column("runs", "study", "'null'"), "column study"),
    "study nested without end": (column("runs", "study", text(DEEP)), "nested deeper than 64"),
    "study that is binary": (column("runs", "study", "x'00ff'"), "binary data"),
    "study with settings out of bounds": (column("runs", "study", """'{"trials": -5}'"""), "is no study: trials"),
    "model that is text": (column("runs", "model", """'"m"'"""), "column model"),
    "model of nested data": (column("runs", "model", """'{"model": {"a": 1}}'"""), "column model"),
    "environment that is no JSON": (column("runs", "environment", "''"), "column environment"),
    "name that is binary": (column("runs", "name", "x'616200'"), "column name"),
    "name that is empty": (column("runs", "name", "''"), "column name"),
    "name that clears the screen": (column("runs", "name", "'a' || char(27) || '[2J'"), "column name"),
    "name that reads backwards": (column("runs", "name", "'a' || char(0x202e) || 'b'"), "column name"),
    "name of two lines": (column("runs", "name", "'a' || char(10) || 'b'"), "column name"),
    "name of a million letters": (column("runs", "name", "hex(zeroblob(500000))"), "column name"),
    "name that is not UTF-8": (column("runs", "name", "CAST(x'ff41' AS TEXT)"), "not UTF-8"),
    "id that is a path": ("UPDATE runs SET id = '../../x'", "column id"),
    "planned that is text": (column("runs", "planned", "'many'"), "column planned"),
    "planned below zero": (column("runs", "planned", "-1"), "column planned"),
    "batch size of zero": (column("runs", "batch_size", "0"), "column batch_size"),
    "created that is no time": (column("runs", "created", "'yesterday'"), "column created"),
    "heartbeat that is no time": (column("runs", "heartbeat", "'now'"), "column heartbeat"),
    "heartbeat without a zone": (column("runs", "heartbeat", "'2026-01-01T00:00:00'"), "column heartbeat"),
    "heartbeat at the end of time": (
        column("runs", "heartbeat", "'9999-12-31T23:59:59.000000+00:00'"),
        "column heartbeat",
    ),
    "prompt that is no JSON": (column("prompts", "record", "'?'"), "table prompts, row 1, column record"),
    "prompt of other tokens": (
        column("prompts", "record", "replace(record, '\"tokens\":[', '\"tokens\":[7,')"),
        "record",
    ),
    "prompt under another hash": (
        column("prompts", "record", 'replace(record, \'"prefill":"\', \'"prefill":"x\')'),
        "key",
    ),
    "prompt that nobody holds": ("PRAGMA foreign_keys = OFF; DELETE FROM prompts", "table run_prompts"),
    "trial of another run": ("UPDATE trials SET run = 'nobody' WHERE ordinal = 3", "table trials"),
    "spec that is no JSON": (column("trials", "spec", "'{]'"), "table trials, row 1, column spec"),
    "spec that is a list": (column("trials", "spec", "'[1]'"), "column spec"),
    "spec of another trial": (column("trials", "spec", "replace(spec, '\"seed\":', '\"seed\":1')"), "column key"),
    "spec with a field too many": (column("trials", "spec", "'{\"more\":1,' || substr(spec, 2)"), "column spec"),
    "spec that is nested without end": (column("trials", "spec", text(DEEP)), "nested deeper"),
    "columns that contradict the spec": (
        column("trials", "condition", "'injected'", "condition = 'control'"),
        "condition",
    ),
    "layer that is text": (column("trials", "layer", "'deep'"), "column layer"),
    "strength that is infinite": (column("trials", "strength", "9e999"), "column strength"),
    "reply that is binary": (
        column("trials", "response", "x'00'"),
        ["column response", " should be a valid string"][0],
    ),
    "reply that is not UTF-8": (column("trials", "response", "CAST(x'c328' AS TEXT)"), "not UTF-8"),
    "reply of 80 million characters": (column("trials", "response", "hex(zeroblob(40000000))"), "longer than 64 MiB"),
    "doses that are no JSON": (column("trials", "doses", "'nan'"), "column doses"),
    "doses of text": (
        column("trials", "doses", 'replace(doses, \'"norm":\', \'"norm":"x","n":\')', "doses <> '[]'"),
        "doses",
    ),
    "proofs that are an object": (column("trials", "proofs", "'{}'"), "column proofs"),
    "proofs without a field": (column("trials", "proofs", "'[{\"layer\": 1}]'"), "column proofs"),
    "measurements of infinity": (column("trials", "measurements", "'{\"x\": Infinity}'"), "column measurements"),
    "measurements of half a letter": (column("trials", "measurements", '\'{"x": "\\ud800"}\''), "column measurements"),
    "measurements of a huge number": (column("trials", "measurements", f"'{{\"x\": {'9' * 5000}}}'"), "measurements"),
    "error beside a result": (column("trials", "error", "'odd'"), "column error"),
    "grade of two": (column("grades", "affirms", "2"), "table grades, row 1, column affirms"),
    "grade of text": (column("grades", "coherent", "'yes'"), "column coherent"),
    "grade of a trial that is not there": (
        "PRAGMA foreign_keys = OFF; UPDATE grades SET key = 'b2:0' WHERE id = 2",
        "table grades, row 2, column key",
    ),
    "grade from the future": (column("grades", "created", "'3000-01-01T00:00:00.000000+00:00'"), "column created"),
    "grader that writes to the clipboard": (
        column("grades", "grader", "'r' || char(27) || ']52;c;AA' || char(7)"),
        "grader",
    ),
    "evidence that is no JSON": (column("grades", "evidence", "'('"), "column evidence"),
    "label without fields": (column("labels", "fields", "'[]'"), "table labels, row 1, column fields"),
    "label set of numbers": (
        "INSERT INTO label_sets (run, name, seed, keys, created) SELECT id, 's', 0, '[1]', created FROM runs",
        "table label_sets, row 1, column keys",
    ),
    "vector file elsewhere": (column("vectors", "file", "'../../etc/passwd'"), "table vectors, row 1, column file"),
    "recipe that is no JSON": (column("vectors", "recipe", "'%'"), "column recipe"),
    "table that is missing": ("DROP TABLE labels", "no table labels"),
    "column that is missing": ("ALTER TABLE vectors DROP COLUMN content", "no column content"),
    "runs that are a view": ("ALTER TABLE runs RENAME TO r; CREATE VIEW runs AS SELECT * FROM r", "no plain table"),
    "trials that never end": (
        f"ALTER TABLE trials RENAME TO t; CREATE VIEW trials AS {ENDLESS} SELECT t.* FROM n, t",
        "no plain table",
    ),
    "a column that is computed": (
        "ALTER TABLE vectors RENAME TO v; CREATE TABLE vectors (hash, recipe, file, content, "
        "created AS (hex(zeroblob(1000000))))",
        "no plain table",
    ),
    "a table that another program serves": (
        "DROP TABLE labels; CREATE VIRTUAL TABLE labels USING fts5(run, key, labeller, fields, note, created)",
        "no plain table",
    ),
    "a migration from the future": ("INSERT INTO migrations (name, applied) VALUES ('m999_x', '')", "newer mlxintro"),
    "another program's file": ("PRAGMA application_id = 7", "another program"),
}
"""Case -> what is done to a good store, and what the line that refuses it says."""

HARMLESS = {
    "running for ever elsewhere": (
        "UPDATE runs SET state = 'running', pid = 1, host = 'elsewhere', heartbeat = '2199-01-01T00:00:00.000000+00:00'"
    ),
    "running here": f"UPDATE runs SET state = 'running', pid = {os.getpid()}, pid_created = 0",
    "a process of number -1": "UPDATE runs SET state = 'paused', pid = -1, pid_created = NULL, heartbeat = NULL",
    "a process that is text": "UPDATE runs SET state = 'running', pid = 'me', pid_created = 'now'",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM trials; END",
    "a view of its own": f"CREATE VIEW mine AS {ENDLESS} SELECT * FROM n",
    "migrations struck off the list": "DELETE FROM migrations WHERE name IN ('m005_label_sets', 'm008_replies')",
    "no rows": "PRAGMA foreign_keys = ON; DELETE FROM runs; DELETE FROM vectors",
}

DAMAGED = {
    case: script
    for case, script in {**{case: script for case, (script, _) in REFUSED.items()}, **HARMLESS}.items()
    if not any(word in case for word in ("never end", "view", "migration", "missing", "program", "computed", "no rows"))
}
"""Cases in which a row is damaged, and not the schema."""

TABLES = ("migrations", "runs", "prompts", "run_prompts", "trials", "grades", "labels", "label_sets", "vectors")

SCHEMAS = {
    **{
        f"{table} never end": (
            f"ALTER TABLE {table} RENAME TO t; CREATE VIEW {table} AS {ENDLESS} SELECT t.* FROM n, t",
            "another program" if table == "migrations" else f"{table} is no plain table",
        )
        for table in TABLES
    },
    "labels are a view": (
        "ALTER TABLE labels RENAME TO t; CREATE VIEW labels AS SELECT * FROM t",
        "labels is no plain table",
    ),
    "a trigger that works without end": (
        "CREATE TRIGGER t AFTER INSERT ON runs BEGIN "
        f"INSERT INTO labels {ENDLESS} SELECT x, 1, 2, 3, 4, 5, 6 FROM n; END",
        "the trigger t is not mlxintro's",
    ),
    "one of our triggers, changed": (
        "CREATE TRIGGER trials_count_insert AFTER INSERT ON trials BEGIN DELETE FROM trials; END",
        "the trigger trials_count_insert is not mlxintro's",
    ),
    "a column that is computed": (
        "ALTER TABLE grades ADD COLUMN more AS (hex(zeroblob(100000000)))",
        "grades is no plain table",
    ),
    "a table of another program": (
        "DROP TABLE labels; CREATE VIRTUAL TABLE labels USING fts5(run, key, labeller, fields, note, created)",
        "labels is no plain table",
    ),
    "an index of replies that never ends": (
        f"DROP TABLE IF EXISTS replies; CREATE VIEW replies AS {ENDLESS} SELECT x AS rowid, 'a' AS text FROM n",
        "replies is not the table that mlxintro makes",
    ),
    "a table that is missing": ("DROP TABLE labels", "there is no table labels"),
    "a column that is missing": ("ALTER TABLE vectors DROP COLUMN content", "table vectors has no column content"),
}
"""What is done to the schema, and what the line that refuses the store says."""
