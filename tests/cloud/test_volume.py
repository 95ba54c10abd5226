import pytest

from axolotl_grpo_plugin.cloud.volume import fetching


@pytest.mark.parametrize(
    ("mount", "output", "line"),
    [
        (
            "/workspace/outputs",
            "./outputs/a",
            "mkdir -p outputs && modal volume get runs a outputs",
        ),
        (
            "/workspace/outputs",
            "outputs/x y/b",
            "mkdir -p 'outputs/x y' && modal volume get runs 'x y/b' 'outputs/x y'",
        ),
        (
            "/workspace/outputs/a",
            "./outputs/a",
            "mkdir -p outputs/a && modal volume get runs / outputs/a",
        ),
        ("/runs", "/runs/b/a", "modal volume get runs b/a ."),
        ("/workspace/a", "./a", "mkdir -p a && modal volume get runs / a"),
        ("/workspace/outputs", "./elsewhere", ""),
    ],
)
def test_a_line_puts_the_output_where_it_would_be_here(mount, output, line):
    assert fetching({"output": output, "volumes": {mount: "runs"}}) == line
