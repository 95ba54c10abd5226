"""Read-only SQLite databases: one for all rows as a tool, or one per row as an environment."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from axolotl_grpo_plugin.environments.base import Environment

_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}


class sqlite:
    """Answers queries to one database, and changes nothing.

    Args:
        database: the path of its file, or the SQL that makes it, with "CREATE TABLE".
        rows: the most rows of an answer.
    """

    def __init__(self, database: str, rows: int = 20):
        self.rows = rows
        if "CREATE TABLE" in database.upper():
            self._database = sqlite3.connect(":memory:")
            self._allow(lambda action: action != sqlite3.SQLITE_ATTACH)  # it would write files
            self._database.executescript(database)
        else:
            file = f"{Path(database).absolute().as_uri()}?mode=ro"
            self._database = sqlite3.connect(file, uri=True)
            self._database.execute("SELECT name FROM sqlite_master")  # raises if it is no database
        self._allow(_ALLOWED.__contains__)

    def _allow(self, allows: Callable[[int], bool]) -> None:
        self._database.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if allows(action) else sqlite3.SQLITE_DENY
        )

    def __call__(self, query: str) -> str:
        """
        Run one SELECT query on the database. "SELECT sql FROM sqlite_master" shows its tables.

        Args:
            query: The query, in SQLite's dialect.

        Returns:
            The names of the columns, then one line per row.
        """
        cursor = self._database.execute(query)
        found = cursor.fetchmany(self.rows + 1)
        lines = [" | ".join(map(str, row)) for row in found[: self.rows]]
        if len(found) > self.rows:
            lines.append(f"(only the first {self.rows} rows are shown)")
        return "\n".join([" | ".join(each[0] for each in cursor.description or ()), *lines])


class RowDatabase(Environment):
    """Answers queries to the database of the row, and changes nothing.

    Args:
        column: the row's column with the path of the file, or with the SQL that makes the database.
        rows: the most rows of an answer.
    """

    def __init__(self, column: str = "database", rows: int = 20):
        self.column, self.rows = column, rows

    def reset(self, **row: object) -> None:
        self._database = sqlite(str(row[self.column]), self.rows)

    def query(self, query: str) -> str:
        return self._database(query)

    query.__doc__ = sqlite.__call__.__doc__
