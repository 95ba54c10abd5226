"""Tools on OpenEnv's MCP server, which openenv-core has since 0.2.1."""

from fastmcp import FastMCP
from openenv.core.env_server import Observation, State, create_app
from openenv.core.env_server.mcp_environment import MCPEnvironment
from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation


class Tools(MCPEnvironment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        server = FastMCP("tools")

        @server.tool()
        def add(a: int, b: int = 2) -> int:
            """
            Add two numbers.

            Args:
                a: The first.
                b: The second.
            """
            return a + b

        super().__init__(server)

    def reset(self, seed=None, episode_id=None, **_):
        return Observation()

    def _step_impl(self, action, timeout_s=None, **_):
        return Observation()

    @property
    def state(self):
        return State()


app = create_app(Tools, CallToolAction, CallToolObservation, max_concurrent_envs=3)
