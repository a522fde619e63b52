#!/usr/bin/env python3
"""Writes tests/data/lora: adapters of the tiny models in tests/data and what PEFT computes with them, not merged.

Usage: make_lora_test_data.py   (needs torch, transformers and peft; seed 7)
`opt` adapts image encoder, Q-Former and language model of cases/opt_sharded_bf16, with patterns of ranks and alphas and
the scale of rslora; `opt_alone` its language model alone, as the older pickled file; `t5` the model in lm/t5_relu_tied.
"""
import json
import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import Blip2ForConditionalGeneration, T5Config, T5ForConditionalGeneration

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
EVERY = 9  # of the vocabulary


def adapt(model, config, folder, pickled=False):
    torch.manual_seed(7)
    adapted = get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.1)
    adapted.save_pretrained(folder)
    (folder / "README.md").unlink()
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = None
    settings["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
    if pickled:
        torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
        (folder / "adapter_model.safetensors").unlink()
    return adapted


def save(tensors, folder):
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "expected.safetensors")


def load_blip2():
    return Blip2ForConditionalGeneration.from_pretrained(DATA / "cases" / "opt_sharded_bf16" / "model",
                                                         dtype=torch.float32)


def blip2_logits(model):
    inputs = load_file(DATA / "cases" / "opt_sharded_bf16" / "inputs.safetensors")
    with torch.no_grad():
        return model(pixel_values=inputs["pixel_values"], input_ids=inputs["forward.left.input_ids"],
                     attention_mask=inputs["forward.left.attention_mask"]).logits[:, -4:, ::EVERY]


def main():
    target = DATA / "lora"
    shutil.rmtree(target, ignore_errors=True)
    folder = target / "opt"
    config = LoraConfig(r=3, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "fc2", "qkv", "query", "fc1"],
                        rank_pattern={"layers.1.fc2": 5}, alpha_pattern={r"self_attn\.q_proj": 2.5, "qkv": 9})
    save({"logits": blip2_logits(adapt(load_blip2(), config, folder))}, folder)

    folder = target / "opt_alone"
    whole = load_blip2()
    alone = adapt(whole.language_model, LoraConfig(r=2, lora_alpha=4, target_modules=["k_proj", "v_proj"]), folder,
                  pickled=True)
    whole.language_model = alone.base_model.model
    save({"logits": blip2_logits(whole)}, folder)

    folder = target / "t5"
    settings = json.loads((DATA / "lm" / "t5_relu_tied" / "config.json").read_text())["text_config"]
    model = T5ForConditionalGeneration(T5Config(**settings))
    weights = load_file(DATA / "lm" / "t5_relu_tied" / "model.safetensors")
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all("embed_tokens" in n or "lm_head" in n for n in missing), (missing, unexpected)
    model.tie_weights()
    adapted = adapt(model, LoraConfig(r=2, lora_alpha=3, target_modules=["q", "v", "wo"]), folder)
    ids = torch.arange(20).view(2, 10) * 3 + 1
    with torch.no_grad():
        logits = adapted(input_ids=ids, decoder_input_ids=torch.zeros(2, 1, dtype=torch.long)).logits
    save({"input_ids": ids, "logits": logits[:, 0]}, folder)


if __name__ == "__main__":
    main()
