"""The shipped tools: calculator, search, sqlite and python."""

import json
import sqlite3

import pytest

from axolotl_grpo_plugin.environments.tools import RowDatabase, calculator, python, search, sqlite


@pytest.mark.parametrize(
    "expression, value",
    [
        ("2 + 3 * 4", "14"),
        ("0.1 + 0.2", "0.3"),
        ("1/3", "1/3 (about 0.3333333333)"),
        ("1,234 × 2", "2468"),
        ("2^10 - (-3) ** 3", "1051"),
        ("7 // 2 + 7 % 4", "6"),
        ("-(1/8)", "-0.125"),
    ],
)
def test_calculator_is_exact(expression, value):
    assert calculator(expression) == value


@pytest.mark.parametrize(
    "expression", ["__import__('os').getcwd()", "x + 1", "9**9**9", "2 ** 0.5", "1 +", "'a' * 9", "True", ""]
)
def test_calculator_refuses_all_but_arithmetic(expression):
    with pytest.raises(ValueError):
        calculator(expression)


def test_search_finds_the_passage_with_the_rarest_words(tmp_path):
    passages = ["The sun is a star.", "Paris is the capital of France.", "A cat is an animal."]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": each}) + "\n" for each in passages))
    find = search(str(corpus), results=1)
    assert find("capital of France") == passages[1]
    assert find("zebra") == "no passage has these words"


@pytest.fixture
def database(tmp_path):
    file = tmp_path / "shop.db"
    with sqlite3.connect(file) as made:
        made.execute("CREATE TABLE items (name TEXT, price INTEGER)")
        made.executemany("INSERT INTO items VALUES (?, ?)", [("pen", 2), ("book", 9), ("cup", 5)])
    made.close()
    return file


def test_sqlite_answers_a_query_with_at_most_the_given_rows(database):
    query = sqlite(str(database), rows=2)
    assert query("SELECT name FROM items WHERE price > 4 ORDER BY price") == "name\ncup\nbook"
    assert query("SELECT * FROM items").splitlines()[-1] == "(only the first 2 rows are shown)"


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE items",
        "INSERT INTO items VALUES ('x', 1)",
        "ATTACH 'other.db' AS other",
        "PRAGMA query_only = 0",
        "SELECT load_extension('x')",
    ],
)
def test_sqlite_changes_nothing(database, query):
    before = database.read_bytes()
    with pytest.raises(sqlite3.Error):
        sqlite(str(database))(query)
    assert database.read_bytes() == before and [*database.parent.iterdir()] == [database]


def test_sqlite_refuses_a_missing_database(tmp_path):
    with pytest.raises(sqlite3.OperationalError):
        sqlite(str(tmp_path / "none.db"))


def test_each_row_has_a_database_of_its_own(database, tmp_path):
    with sqlite3.connect(database) as made:
        dump = "\n".join(made.iterdump()).replace("pen", "pin")
    made.close()
    environment = RowDatabase(column="db", rows=1)
    for content, name in ((str(database), "pen"), (dump, "pin")):
        environment.reset(db=content, answer="")
        assert environment.query("SELECT name FROM items WHERE price = 2") == f"name\n{name}"
        with pytest.raises(sqlite3.Error):
            environment.query("DELETE FROM items")
    with pytest.raises(sqlite3.Error):  # the dataset's SQL writes no file
        environment.reset(db=f"CREATE TABLE t (a); ATTACH '{tmp_path / 'x.db'}' AS x; CREATE TABLE x.t (a)")
    assert [*tmp_path.iterdir()] == [database]


def test_python_returns_the_output_and_the_last_value():
    run = python(seconds=2.0, allow_unsafe=True)
    assert run("x = 6\nprint('six')\nx * 7") == "six\n42"
    assert run("x") == "NameError: name 'x' is not defined"  # no state from before
    assert run("pass") == "(no output)"
    assert run("import sys\nsys.exit('bye')") == "bye"
    with pytest.raises(TimeoutError, match="took more than 2 s"):
        run("while True: pass")
