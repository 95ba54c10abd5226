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


def test_first_lines_of_axolotl_stay_off_the_terminal_and_its_log_is_kept():
    shown = program(
        "import logging, os\n"
        "from axolotl_grpo_plugin.repairs.startup import QUIET, start_quietly\n"
        "start_quietly()\n"
        "from axolotl.cli.art import print_axolotl_text_art\n"
        "from axolotl.logging_config import configure_logging\n"
        "from axolotl_grpo_plugin.training.banner import quiet_console\n"
        "configure_logging()\n"
        "print_axolotl_text_art()\n"
        "logging.getLogger('axolotl.x').info('Plugin loaded')\n"
        "quiet_console(everything=False)\n"
        "logging.getLogger('axolotl.x').info('the config')\n"
        "print(logging.getLogger('axolotl.x').isEnabledFor(logging.INFO), os.environ[QUIET])\n"
    )
    assert shown.splitlines() == ["True 1"]


def test_level_that_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("AXOLOTL_LOG_LEVEL", "DEBUG")
    code = "import os; from axolotl_grpo_plugin.repairs.startup import QUIET, start_quietly; start_quietly()"
    assert program(f"{code}; print(os.environ['AXOLOTL_LOG_LEVEL'], QUIET in os.environ)").strip() == "DEBUG False"
