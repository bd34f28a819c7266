"""A real checkpoint folder of the Hugging Face Trainer, made by training a tiny model."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)


class Tokens(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.arange(index, index + 6) % 30
        return {"input_ids": ids, "labels": ids}


def train(folder: Path, *, steps: int = 2) -> Path:
    """Train and return the folder of the last checkpoint."""
    vocabulary = {f"w{i}": i for i in range(30)} | {"[UNK]": 30}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=31,
        n_positions=8,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        save_steps=steps,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
    )
    trainer = Trainer(
        GPT2LMHeadModel(config),
        arguments,
        train_dataset=Tokens(),
        processing_class=PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[UNK]"),
    )
    trainer.train()
    return folder / f"checkpoint-{steps}"
