"""The judge reward speaks the protocol of vLLM's OpenAI-compatible server, on the CPU."""

import asyncio
import os
import signal
import subprocess
import time
import urllib.request

import pytest

from axolotl_grpo_plugin.rewards.judge import judge
from tests.e2e.conftest import environment
from tests.serving.stubs import free_port

PATIENCE = 500  # seconds, on a busy machine


@pytest.fixture
def served(vllm, smollm2, tmp_path):
    """The base_url of SmolLM2 behind `vllm serve`. It answers, but it cannot judge."""
    url, log = f"http://127.0.0.1:{(port := free_port())}", (tmp_path / "log").open("w")
    serve = [vllm.parent / "vllm", "serve", smollm2, "--served-model-name", "a-judge"]
    options = ["--port", str(port), "--dtype", "float32", "--max-model-len", "2048"]
    process = subprocess.Popen(
        [*map(str, serve), *options],
        env=environment(VLLM_CPU_KVCACHE_SPACE="1"),
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        ends = time.monotonic() + PATIENCE
        while not answers(f"{url}/health"):
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            assert time.monotonic() < ends, "vLLM did not start"
            time.sleep(1)
        yield f"{url}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
        log.close()


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=2).status == 200
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.xdist_group("vllm")
def test_judge_reads_the_answers_of_vllm(served):
    reward = judge(model="a-judge", base_url=served, timeout=120, body={"max_tokens": 64})
    reward.ready()
    with pytest.raises(RuntimeError, match="another"):
        judge(model="another", base_url=served).ready()
    completions = [f"<answer>{number}</answer>" for number in (17, 18)]
    scores = asyncio.run(reward.scores(prompts=["What is 9 + 9?"] * 2, completions=completions, solution=["18", "18"]))
    assert {each.reason for each in scores} <= {"correct", "wrong", "judge_unreadable"}
