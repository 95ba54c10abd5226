"""The notebook runs from its first cell to its last one."""

import json

import pytest

from tests.e2e.conftest import ROOT, environment

NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
SHOWN = [  # in the output of the code cells, in order
    "",  # the installation, which is not executed
    "the first one, as the model sees it",
    "<answer>17</answer>        0.0 wrong_value",
    "held-out rows, sampled: 234 rows",
    "image/png",
    "rollouts. Open it in a browser",
]


@pytest.mark.slow
def test_all_cells_run(tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    options = {"timeout": 900, "kernel_name": "python3", "resources": {"metadata": {"path": str(tmp_path)}}}
    nbclient.NotebookClient(notebook, **options).execute()
    outputs = [json.dumps(cell["outputs"], ensure_ascii=False) for cell in notebook.cells if cell.cell_type == "code"]
    assert len(outputs) == len(SHOWN)
    for output, words in zip(outputs, SHOWN, strict=True):
        assert words in output and "Traceback" not in output, output[-3000:]
