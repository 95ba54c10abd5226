import pytest

from tests.engines.sharded import trainings


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Two ranks that train again and again, after one import of Axolotl."""
    with trainings(tmp_path_factory.mktemp("ranks")) as ranks:
        yield ranks
