"""mypy finds nothing. Without its cache it needs half a minute of CPU time."""

import pytest

from tests import test_style


@pytest.mark.seconds(45)
def test_types():
    test_style.test_style("mypy")
