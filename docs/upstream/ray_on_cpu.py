import sys
from types import ModuleType, SimpleNamespace

from axolotl.cli import train
from axolotl.utils.dict import DictDefault

ray, torch = ModuleType("ray.train"), ModuleType("ray.train.torch")  # so that this runs without Ray
ray.RunConfig = torch.TorchConfig = dict
ray.ScalingConfig = lambda **given: print(f"use_gpu: {given['use_gpu']}")
torch.TorchTrainer = lambda *_, **__: SimpleNamespace(fit=lambda: None)
sys.modules |= {"ray": ModuleType("ray"), "ray.train": ray, "ray.train.torch": torch}
cfg = DictDefault(
    use_ray=True, resources_per_worker={"GPU": 0}, ray_num_workers=2, output_dir="out"
)
train.load_cfg = lambda *_, **__: cfg
train.do_cli("config.yaml")
