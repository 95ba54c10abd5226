"""A read-only SQLite database."""

import sqlite3
from pathlib import Path

_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}


class sqlite:
    """Answers queries to one database, and changes nothing.

    Args:
        database: the path of its file.
        rows: the most rows of an answer.
    """

    def __init__(self, database: str, rows: int = 20):
        self.rows = rows
        self._database = sqlite3.connect(f"{Path(database).absolute().as_uri()}?mode=ro", uri=True)
        self._database.execute("SELECT name FROM sqlite_master")  # raises if this is no database
        self._database.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
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
