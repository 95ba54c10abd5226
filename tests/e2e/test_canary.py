"""The canary with a stand-in for vLLM. test_serving.py runs it with vLLM (`-m slow`)."""

import copy
from types import SimpleNamespace

import pytest
import torch

from axolotl_grpo_plugin.serving.canary import Canary, ConfigError
from tests.conftest import MODEL


class Server:
    """Serves its own copy of the weights. syncs: whether it takes new weights."""

    def __init__(self, model, syncs):
        self.model, self.served, self.syncs = model, copy.deepcopy(model), syncs

    def sync_weights(self):
        if self.syncs:
            self.served.load_state_dict(self.model.state_dict())

    @torch.no_grad()
    def generate(self, prompts, max_tokens, generation_kwargs):
        ids, logprobs = list(prompts[0]), []
        for _ in range(max_tokens):
            scores = self.served(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            ids.append(int(scores.argmax()))
            logprobs.append([float(scores.max())])
        return {"completion_ids": [ids[-max_tokens:]], "logprobs": [logprobs]}


@pytest.mark.parametrize("syncs", [True, False])
def test_canary_stops_a_run_whose_server_keeps_its_old_weights(syncs, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype="float32")
    before = copy.deepcopy(model.state_dict())
    server = Server(model, syncs)
    server.vllm_client = server
    trainer = SimpleNamespace(
        model=model,
        args=SimpleNamespace(),
        accelerator=SimpleNamespace(unwrap_model=lambda model: model, device="cpu", is_main_process=True),
        processing_class=AutoTokenizer.from_pretrained(MODEL),
        vllm_generation=server,
    )
    if syncs:
        Canary(trainer).on_train_begin(None, None, None)
        assert "canary: vLLM is 0.0000 nats per token from the weights" in capsys.readouterr().err
    else:
        with pytest.raises(ConfigError, match="Its rollouts are not the trained model's"):
            Canary(trainer).on_train_begin(None, None, None)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
