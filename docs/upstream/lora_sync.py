import torch
from peft import LoraConfig, get_peft_model

torch.manual_seed(0)
model = get_peft_model(
    torch.nn.Sequential(torch.nn.Linear(256, 256, bias=False)).bfloat16(),
    LoraConfig(r=8, target_modules=["0"]),
)
layer = model.base_model.model[0]
torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.01)
before = layer.base_layer.weight.detach().clone()
for _ in range(100):  # TRL's VLLMGeneration.sync_weights does this per sync
    model.merge_adapter()
    model.unmerge_adapter()
drift = (layer.base_layer.weight - before).norm() / layer.get_delta_weight("default").norm()
print(f"{drift:.0%} of the adapter's norm")
