"""TRL's GRPOTrainer with completions, rewards and vLLM log-probabilities that are made up. All else is real."""

import logging
import math
import random
from contextlib import contextmanager
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from axolotl_grpo_plugin.scoring.dead_groups import dead_completions
from axolotl_grpo_plugin.trl import GRPOTrainer as PackedTrainer

MODEL = Path(__file__).parents[2] / "axolotl_grpo_plugin" / "quickstart" / "model"
GROUP, GROUPS, LONGEST = 4, 4, 24


class Rollouts:
    """Prompts, completions and rewards of a generation batch. Some completions are cut off.

    Args:
        seed: Of the draws.
        vocabulary: The number of token ids.
        end: The end token.
        dead: Which prompt groups are dead: "half", "none" or "all".
        lengths: "varied", "one" (completions of one token) or "uneven" (prompts of 2 to 60 tokens).
        repeats: Whether the completions of a group have the same prompt.
    """

    def __init__(self, seed, vocabulary, end, dead="half", lengths="varied", repeats=True):
        draw = random.Random(seed)
        words = [token for token in range(5, vocabulary) if token != end]
        self.prompts, self.completions, self.rewards = [], [], []
        for group in range(GROUPS):
            size = draw.randint(3, 12)
            if lengths == "uneven":
                size = 60 if group % 2 else 2
            prompt = draw.choices(words, k=size)
            is_dead = dead == "all" or (dead == "half" and group % 2)
            for number in range(GROUP):
                length = min(LONGEST, max(2, int(draw.lognormvariate(1.9, 0.8))))
                tokens = draw.choices(words, k=length)
                if length < LONGEST:
                    tokens[-1] = end
                self.prompts.append(prompt if repeats else draw.choices(words, k=size))
                self.completions.append(tokens)
                self.rewards.append(2.9 if is_dead else float(number % 2))
        for index in (1, 2, 5):
            self.completions[index] = draw.choices(words, k=LONGEST)
        if lengths == "one":
            self.completions = [[draw.choice(words)] for _ in self.completions]


def trainer_of(folder, packed=False, seed=0, tools=False, vllm=False, lora=False, model=None, **settings):
    """Return a trainer that trains on the rollouts of a seed. packed: whether it is this plugin's."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    dtype = settings.pop("dtype", torch.float32)
    model = model() if model else AutoModelForCausalLM.from_pretrained(MODEL, dtype=dtype)
    made = {name: settings.pop(name) for name in ("dead", "lengths", "repeats") if name in settings}
    rows = Rollouts(seed, len(tokenizer), tokenizer.eos_token_id, **made)
    settings.setdefault("gradient_checkpointing", False)
    budget = settings.pop("tokens_per_pass", None)  # TRL has none
    args = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=settings.pop("micro", 2),
        gradient_accumulation_steps=settings.pop("accumulation", 8),
        num_generations=GROUP,
        max_completion_length=LONGEST,
        temperature=0.9,
        report_to=[],
        use_cpu=settings.pop("use_cpu", True),
        bf16=settings.pop("bf16", False),
        seed=1,
        **settings,
    )
    questions = Dataset.from_dict({"prompt": [f"{number}?" for number in range(64)]})
    torch.manual_seed(5)  # of the adapter
    trainer = (PackedTrainer if packed else GRPOTrainer)(
        model,
        lambda prompts, **_: rows.rewards,
        args,
        questions,
        processing_class=tokenizer,
        peft_config=LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False) if lora else None,
    )
    if packed:
        trainer.tokens_per_pass = budget
    masks = [[int(not 1 <= place < 1 + len(ids) // 3) for place in range(len(ids))] for ids in rows.completions]
    logps = near_logps(trainer, rows) if vllm else None
    trainer.use_vllm = vllm

    def generate(_):
        texts = ["x"] * len(rows.prompts)
        return rows.prompts, rows.completions, masks if tools else None, texts, logps, {}, None, None

    trainer._generate = generate
    silence_dead_groups(trainer)
    if trainer.ref_model is not None:
        with torch.no_grad(), whole(trainer.model):
            for value in trainer.model.parameters():
                value *= 0.97  # else the divergence from the reference model has no gradient
    trainer.model.train()
    if args.gradient_checkpointing:  # transformers turns it on when a training starts
        trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
    trainer.current_gradient_accumulation_steps = args.gradient_accumulation_steps
    return trainer


@contextmanager
def whole(model):
    """Gather the weights that ZeRO-3 has shared between the ranks, from the start of a model on."""
    weights = [*model.parameters()]
    if not hasattr(weights[0], "ds_id"):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(weights, modifier_rank=0):
        yield


def near_logps(trainer, rows):
    """Return log-probabilities near the model's own, as vLLM's are. Two tokens have none."""
    noise, found = random.Random(3), []
    for prompt, completion in zip(rows.prompts, rows.completions, strict=True):
        with torch.no_grad(), whole(trainer.model):
            logits = trainer.model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        own = (logits / trainer.temperature).log_softmax(-1)
        found.append([row[token].item() + noise.gauss(0, 0.3) for row, token in zip(own, completion, strict=True)])
    found[4][0] = found[5][1] = math.nan
    return found


def silence_dead_groups(trainer):
    """Set the advantages of dead groups to exactly 0, as the plugin does in a training."""
    generate, calculate = trainer._generate_and_score_completions, trainer._calculate_rewards
    scores = []

    def calculate_rewards(*arguments):
        scores[:] = [calculate(*arguments)]
        return scores[0]

    def generate_and_score(inputs):
        batch = generate(inputs)
        start = trainer.accelerator.process_index * len(inputs)
        dead = dead_completions(trainer, scores[0], GROUP)[start : start + len(inputs)]
        batch["advantages"][dead] = 0.0
        return batch

    trainer._calculate_rewards, trainer._generate_and_score_completions = calculate_rewards, generate_and_score


def step(trainer, trains=False):
    """Run the passes of an optimizer step. Return its gradients. trains: whether by `training_step`, as in a training."""
    trainer.model.zero_grad()
    rows = [{"prompt": f"{number}?"} for number in range(GROUP * GROUPS)]
    for number in range(trainer.args.gradient_accumulation_steps):
        is_last = number + 1 == trainer.args.gradient_accumulation_steps
        trainer.accelerator.gradient_state._set_sync_gradients(is_last)
        if trains:
            trainer.training_step(trainer.model, rows, None)
        else:
            trainer.compute_loss(trainer.model, trainer._prepare_inputs(rows)).backward()
            trainer._step += 1
    return {name: value.grad.clone() for name, value in trainer.model.named_parameters() if value.grad is not None}


def gradients(folder, packed, steps=1, **settings):
    """Return the gradients of the last of some steps, and the trainer. packed: whether it is this plugin's."""
    trainer = trainer_of(folder, packed, **settings)
    torch.manual_seed(7)
    found = step(trainer)
    for _ in range(steps - 1):
        with torch.no_grad():
            for value in trainer.model.parameters():
                value *= 0.99  # not by the gradients, so that both trainers have the same weights
        found = step(trainer)
    return found, trainer


def difference(expected, found):
    """Return the relative difference of two sets of gradients."""
    assert expected.keys() == found.keys()
    apart = sum((expected[name] - found[name]).pow(2).sum() for name in expected)
    size = sum(value.pow(2).sum() for value in expected.values())
    return (apart / size).sqrt().item()
