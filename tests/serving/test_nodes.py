"""The tie between the serving node and the training ones, with threads for nodes."""

import os
import socket
import sys
import threading
import time

import pytest

from axolotl_grpo_plugin.checks import ConfigError
from axolotl_grpo_plugin.serving import nodes
from axolotl_grpo_plugin.serving.nodes import Ties, gone, held, tell
from axolotl_grpo_plugin.serving.server import Server
from tests.serving.test_supervisor import free_port


@pytest.fixture
def server(tmp_path):
    """A process stands for vLLM."""
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    made = Server(sleeps, os.environ, "127.0.0.1", 1, tmp_path / "log")
    yield made
    if made.ended() is None:
        os.kill(made.pid, 9)


class Holding(threading.Thread):
    """The first node."""

    def __init__(self, server, nodes):
        super().__init__()
        self.server, self.port, self.ended = server, free_port(), None
        self.ties = Ties(self.port, "7", nodes)
        self.start()

    def run(self):
        self.ended = self.ties.hold(self.server)

    def tie(self):
        return held("127.0.0.1", self.port, "7")


def test_the_server_lives_as_long_as_all_nodes(server):
    holding = Holding(server, 2)
    first, second = holding.tie(), holding.tie()
    tell(first, 0)
    time.sleep(0.5)
    assert holding.is_alive()
    assert not gone(second)
    tell(second, 0)
    holding.join(5)
    assert holding.ended == (0, "all training nodes have ended")


@pytest.mark.parametrize(("last", "code"), [(7, 7), (None, 1)])
def test_a_node_that_ends_badly_ends_all(server, last, code):
    holding = Holding(server, 3)
    bad, good = holding.tie(), holding.tie()
    if last is None:
        bad.close()  # killed
    else:
        tell(bad, last)
    holding.join(5)
    assert holding.ended == (code, f"a training node ended with {code}")
    assert gone(good)


def test_the_servers_death_ends_all(server):
    holding = Holding(server, 1)
    tie = holding.tie()
    os.kill(server.pid, 9)
    holding.join(5)
    assert holding.ended == (1, "")
    assert gone(tie)


def test_strangers_are_no_nodes(server, monkeypatch):
    holding = Holding(server, 1)
    with socket.create_connection(("127.0.0.1", holding.port)) as scan:
        scan.sendall(b"GET / HTTP/1.1\r\n\r\n")
    monkeypatch.setattr(nodes, "BOOT", 1)
    with pytest.raises(ConfigError, match=r"no server on the first node, .* after 1 s"):
        held("127.0.0.1", holding.port, "another job")
    assert holding.is_alive()
    monkeypatch.undo()
    tell(holding.tie(), 0)
    holding.join(5)
    assert holding.ended[0] == 0


def test_nodes_that_never_come_are_not_waited_for(server, monkeypatch):
    monkeypatch.setattr(nodes, "BOOT", 1)
    holding = Holding(server, 2)
    tie = holding.tie()
    holding.join(5)
    assert gone(tie)
    assert holding.ended == (1, "1 of 2 training nodes came in 1 s")


def test_a_port_that_is_taken():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=f"port {port}, beside vllm.port, cannot be listened on"
        ):
            Ties(port, "7", 1)
