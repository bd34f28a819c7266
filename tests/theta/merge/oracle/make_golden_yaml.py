"""Write what mergekit 0.1.5 makes of three YAML files to ``tests/golden/strategies/yaml.json``.

Run by hand: ``PYTHONPATH=. python tests/theta/merge/oracle/make_golden_yaml.py`` under a Python
that has mergekit and transformers; no network is used. Numbers are the bytes of float32,
little-endian, in hex.
"""

import json
import os
import tempfile
from pathlib import Path

import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
from safetensors.numpy import load_file, save_file
from transformers import LlamaConfig

from tests.theta.merge.yaml_models import CONFIG, MODELS, model

FOLDER = Path("tests/golden/strategies").resolve()


def main() -> None:
    kept = {}
    files = sorted((FOLDER / "yaml").glob("*.yml"))
    with tempfile.TemporaryDirectory() as folder:
        # The models are named by folders beside each other.
        os.chdir(folder)
        for name in MODELS:
            LlamaConfig(architectures=["LlamaForCausalLM"], **CONFIG).save_pretrained(name)
            save_file(model(name), f"{name}/model.safetensors", metadata={"format": "pt"})
        for path in files:
            config = MergeConfiguration.model_validate(yaml.safe_load(path.read_text()))
            options = MergeOptions(copy_tokenizer=False, write_model_card=False)
            run_merge(config, f"out-{path.stem}", options)
            made = load_file(f"out-{path.stem}/model.safetensors")
            kept[path.stem] = {k: v.astype("<f4").tobytes().hex() for k, v in sorted(made.items())}
    (FOLDER / "yaml.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
