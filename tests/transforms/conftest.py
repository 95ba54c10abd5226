"""Set-up for the tests of all transforms."""

import pytest

from tests.conftest import MODEL


@pytest.fixture(scope="session")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL)


def run(factory, *rows, tokenizer=None, **keys):
    """Transform the rows as one batch of the dataset a.jsonl. Return the columns."""
    transform, options = factory({"datasets": [{"path": "a.jsonl"}], **keys}, dataset_idx=0)
    assert options["batched"]
    columns = {name: [row.get(name) for row in rows] for row in rows for name in row}
    numbers = [list(range(len(rows)))] if options.get("with_indices") else []
    return transform(columns, *numbers, tokenizer)
