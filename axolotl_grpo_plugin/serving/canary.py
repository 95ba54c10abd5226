"""`axolotl grpo train --canary`: check that rollouts come from the trained weights."""

from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from axolotl_grpo_plugin.findings import ConfigError
from axolotl_grpo_plugin.serving.supervisor import say

TOKENS = 32
SHIFT = 0.3  # nats per token by which perturbed weights must differ from trained ones
FACTOR = 3  # vLLM must be closer to the perturbed weights by this factor


class Canary(TrainerCallback):
    """Before the first step: perturb the weights, sync, compare, and restore them."""

    def __init__(self, trainer: Any):
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        gaps = compare(self.trainer)
        ((sent, old),) = broadcast_object_list([gaps])  # only the main process queries vLLM
        measured = (
            f"{sent:.4f} nats per token from the weights it was sent, {old:.4f} from the old ones"
        )
        if sent * FACTOR >= old:
            what = f"canary: vLLM's log-probabilities are {measured}. Its rollouts are not the trained model's."
            raise ConfigError(f"axolotl-grpo-plugin: {what}")
        if self.trainer.accelerator.is_main_process:
            say(f"canary: vLLM is {measured}. Its rollouts are the trained model's.")


@torch.no_grad()
def compare(trainer: Any) -> tuple[float, float] | None:
    """Perturb the weights, send them to vLLM, and restore them.

    Returns, on the main process only, mean absolute differences between vLLM's log-probabilities and
    the trainer's, in nats per token: with the weights that vLLM was sent, and with the old ones.
    Raises: ConfigError if the weights cannot be perturbed in place (ZeRO-3, FSDP).
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    device, training = trainer.accelerator.device, model.training
    model.eval()  # without dropout, as in vLLM
    trained = [each for each in model.parameters() if each.requires_grad]
    copies = [each.detach().to("cpu", copy=True) for each in trained]
    prompt = trainer.processing_class("One and one is two. Two and two is")["input_ids"]
    _perturb(model, trained, prompt, device)
    _sync(trainer)
    main = trainer.accelerator.is_main_process
    if main:
        client = trainer.vllm_generation.vllm_client
        options = {"ignore_eos": True, "seed": 0}  # the perturbed model may end at once
        reply = client.generate([prompt], max_tokens=TOKENS, generation_kwargs=options)
        (completion,), (logprobs,) = reply["completion_ids"], reply["logprobs"]
        server = torch.tensor([each[0] for each in logprobs])
        perturbed = _logprobs(model, prompt, completion, device)
    for parameter, value in zip(trained, copies, strict=True):
        parameter.copy_(value)
    _sync(trainer)
    gaps = None
    if main:
        old = _logprobs(model, prompt, completion, device)
        gaps = ((server - perturbed).abs().mean().item(), (server - old).abs().mean().item())
    model.train(training)
    return gaps


def _sync(trainer: Any) -> None:
    """Sync the weights as the trainer's step does."""
    if getattr(trainer.args, "vllm_lora_sync", False):
        trainer._sync_lora_adapter()
    else:
        trainer.vllm_generation.sync_weights()


def _perturb(model: Any, trained: list[Any], prompt: list[int], device: Any) -> None:
    """Add noise, the same on all ranks, until the model's log-probabilities move by SHIFT."""
    begin = _logprobs(model, prompt[:1], prompt[1:], device)
    noise = torch.Generator().manual_seed(0)
    scale = 0.01
    while scale < 10:
        for each in trained:
            width = max(each.shape[-1:], default=1)
            step = torch.randn(each.shape, generator=noise) * scale / width**0.5
            each.add_(step.to(each.device, each.dtype))
        shift = (_logprobs(model, prompt[:1], prompt[1:], device) - begin).abs().mean().item()
        if shift > SHIFT:
            return
        scale *= 2
    what = "canary: sharded weights (ZeRO-3, FSDP) cannot be perturbed"
    raise ConfigError(f"axolotl-grpo-plugin: {what}. Run it on a config without sharding.")


def _logprobs(model: Any, prompt: list[int], completion: list[int], device: Any) -> torch.Tensor:
    """Return the log-probability of each completion token: float32, on the CPU."""
    ids = torch.tensor([[*prompt, *completion]], device=device)
    logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float().cpu()
    chosen = torch.tensor(completion)[:, None]
    logprobs: torch.Tensor = logits.log_softmax(-1).gather(1, chosen)[:, 0]
    return logprobs
