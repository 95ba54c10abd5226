from axolotl_grpo_plugin.repairs import startup
from tests.conftest import program


def test_lists_the_packages_as_importlib_does():
    """In a process of its own, because a command replaces importlib's function."""
    done = program(
        "import importlib.metadata\n"
        "from axolotl_grpo_plugin.repairs.startup import packages_distributions\n"
        "print(packages_distributions() == importlib.metadata.packages_distributions())\n"
    )
    assert done.strip() == "True"


def test_reads_files_without_a_record_of_an_old_installation(tmp_path, monkeypatch):
    old = tmp_path / "old.egg-info"
    old.mkdir()
    (old / "PKG-INFO").write_text("Name: old\nVersion: 1\n")
    (old / "SOURCES.txt").write_text("old_module.py\nREADME.md\n")
    (tmp_path / "old_module.py").touch()
    (tmp_path / "README.md").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert startup.packages_distributions.__wrapped__()["old_module"] == ["old"]


def test_collects_rarely_until_the_imports_are_kept():
    done = program(
        "import gc\n"
        "print(gc.get_threshold()[0])\n"
        "from axolotl_grpo_plugin.repairs.startup import import_quickly, keep_objects\n"
        "import_quickly()\n"
        "print(gc.get_threshold()[0])\n"
        "keep_objects()\n"
        "print(gc.get_threshold()[0], gc.get_freeze_count() > 1000, gc.isenabled())\n"
    )
    default, rarely, kept, *others = done.split()
    assert rarely == "200000" and kept == default != rarely
    assert others == ["True", "True"]
