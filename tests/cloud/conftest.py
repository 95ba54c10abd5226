"""`modal_service`: Modal's side of the wire on this machine, and a client that knows no other."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Modal's library reads the user's ~/.modal.toml as it is imported. No test may.
with pytest.MonkeyPatch.context() as before:
    before.setenv("MODAL_CONFIG_PATH", os.devnull)
    import modal.config

from modal import environments
from modal._utils.async_utils import synchronizer
from modal.client import _Client

from tests.cloud.modal_service import ModalService


@pytest.fixture
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Modal's library as on a new machine: no token, no file, nothing of an earlier test."""
    for name in [name for name in os.environ if name.startswith("MODAL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MODAL_CONFIG_PATH", str(tmp_path / "no-modal.toml"))
    monkeypatch.setenv("MODAL_SERVER_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(modal.config, "_user_config", {})
    monkeypatch.setattr(environments, "ENVIRONMENT_CACHE", {})
    monkeypatch.setattr(_Client, "_client_from_env", None)
    monkeypatch.setattr(_Client, "_client_from_env_lock", None)
    yield
    # What Modal does as the interpreter ends: the client, its sockets and its thread.
    synchronizer._close_loop()


@pytest.fixture
def modal_service(no_token: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModalService]:
    """The service; its address and a token are in the environment."""
    with ModalService() as service:
        monkeypatch.setenv("MODAL_SERVER_URL", service.url)
        monkeypatch.setenv("MODAL_TOKEN_ID", "ak-test")
        monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-test")
        yield service
        synchronizer._close_loop()
