from types import SimpleNamespace

import pytest

from axolotl_grpo_plugin.findings import FindingError
from tests.conftest import Later

claims = Later("axolotl_grpo_plugin.cloud.claims")
ERRORS = {
    # The run may go on.
    "connection": (lambda modal: modal.exception.ConnectionError("away"), "run-unknown"),
    "service": (lambda modal: modal.exception.ServiceError("down"), "run-unknown"),
    "token": (lambda modal: modal.exception.AuthError("expired"), "run-unknown"),
    "socket": (lambda modal: ConnectionResetError("reset"), "run-unknown"),
    "not yet": (lambda modal: TimeoutError(), "run-under-way"),
    # The run has ended.
    "forgotten": (lambda modal: modal.exception.NotFoundError("no such call"), ""),
    "result is gone": (lambda modal: modal.exception.OutputExpiredError("expired"), ""),
    "time limit": (lambda modal: modal.exception.FunctionTimeoutError("too long"), ""),
    "container": (lambda modal: modal.exception.RemoteError("killed"), ""),
    "full disk": (lambda modal: OSError(28, "No space left"), ""),
}


@pytest.mark.parametrize("name", ERRORS)
def test_folder_is_free_only_if_modal_says_that_its_run_has_ended(monkeypatch, name):
    import modal

    make, code = ERRORS[name]

    def get(timeout):
        raise make(modal)

    entries = {"runs/a": {"config": "a.yaml", "call": "fc-1"}}
    monkeypatch.setattr(modal.FunctionCall, "from_id", lambda call: SimpleNamespace(get=get))
    monkeypatch.setattr(modal.Dict, "from_name", lambda name, create_if_missing: entries)
    place = claims.Place("runs", "a")
    if not code:
        claims.check_free(place)
        return
    with pytest.raises(FindingError) as refused:
        claims.check_free(place)
    assert refused.value.finding.code == code
    assert "a.yaml" in refused.value.finding.what
