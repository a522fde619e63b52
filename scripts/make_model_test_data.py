#!/usr/bin/env python3
"""Writes tests/data/models from reference cases computed with LAVIS.

Usage: make_model_test_data.py FIXTURES
FIXTURES is the folder with the reference cases `lavis/stage1_model`, `lavis/stage1_forward`, ... Names of parameters and
gradients are changed to ours, EVA's split biases are joined; numbers are copied as they are.
"""
import pathlib
import re
import shutil
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

RENAMES = [
    (r"^visual_encoder\.cls_token", "vision_model.embeddings.class_embedding"),
    (r"^visual_encoder\.pos_embed", "vision_model.embeddings.position_embedding"),
    (r"^visual_encoder\.patch_embed\.proj", "vision_model.embeddings.patch_embedding"),
    (r"^visual_encoder\.blocks\.(\d+)\.norm(\d)", r"vision_model.encoder.layers.\1.layer_norm\2"),
    (r"^visual_encoder\.blocks\.(\d+)\.attn\.proj", r"vision_model.encoder.layers.\1.self_attn.projection"),
    (r"^visual_encoder\.blocks\.(\d+)\.attn\.qkv", r"vision_model.encoder.layers.\1.self_attn.qkv"),
    (r"^visual_encoder\.blocks\.(\d+)\.mlp", r"vision_model.encoder.layers.\1.mlp"),
    (r"^ln_vision", "vision_model.post_layernorm"),
    (r"^Qformer\.bert\.embeddings\.LayerNorm", "qformer.layernorm"),
    (r"^Qformer\.bert\.embeddings\.", "embeddings."),
    (r"^Qformer\.bert\.encoder\.layer\.(\d+)\.(cross)?attention\.self", r"qformer.encoder.layer.\1.\2attention.attention"),
    (r"^Qformer\.bert\.", "qformer."),
    (r"^Qformer\.cls\.predictions\.", "itg_head."),
    (r"^vision_proj", "vision_projection"),
    (r"^text_proj", "text_projection"),
    (r"^temp$", "temperature"),
    (r"^(opt|t5)_proj", "language_projection"),
    (r"^(opt|t5)_model\.", "language_model."),
]
# The decoder is the word embedding; position ids are no weights; a tied head is not stored.
DROPPED = re.compile(r"cls\.predictions\.decoder|position_ids|opt_model\.lm_head|t5_model\.(en|de)coder\.embed_tokens")


def our_name(name):
    for pattern, replacement in RENAMES:
        name, count = re.subn(pattern, replacement, name)
        if count:
            break
    return name


def convert(tensors):
    """Parameters (or gradients) under our names, with q_bias | 0 | v_bias as one qkv bias."""
    result = {}
    for name, tensor in tensors.items():
        if DROPPED.search(name) or name.endswith("attn.v_bias"):
            continue
        if name.endswith("attn.q_bias"):
            value = tensors[name.replace("q_bias", "v_bias")]
            tensor = np.concatenate([tensor, np.zeros_like(tensor), value])
            name = name.replace("q_bias", "qkv.bias")
        result[our_name(name)] = tensor
    return result


def convert_case(source, target, keep=lambda name: True, inputs=True):
    """`inputs=False`: the case has the pictures and captions of stage1_forward."""
    target.mkdir(parents=True, exist_ok=True)
    if inputs:
        shutil.copy(source / "inputs.safetensors", target / "inputs.safetensors")
    expected = load_file(source / "expected.safetensors")
    result = {n: t for n, t in expected.items() if "grad." not in n and keep(n)}
    for prefix in sorted({n[: n.index("grad.")] for n in expected if "grad." in n}):
        start = prefix + "grad."
        gradients = convert({n[len(start):]: t for n, t in expected.items() if n.startswith(start)})
        result.update({start + n: t for n, t in gradients.items()})
    save_file(result, target / "expected.safetensors", metadata={"format": "pt"})


def main():
    lavis = pathlib.Path(sys.argv[1]) / "lavis"
    target = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "models"
    for model in ("stage1_model", "stage2_opt_model", "stage2_t5_model"):
        folder = target / model
        folder.mkdir(parents=True, exist_ok=True)
        tensors = convert(load_file(lavis / model / "model.safetensors"))
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        shutil.copy(lavis / model / "blip2_config.json", folder / "config.json")
    for case in ("stage1_forward", "stage1_forward_image_id", "stage1_masks"):
        convert_case(lavis / case, target / case, inputs=case == "stage1_forward")
    # Two ranks: the per-rank losses and what the gather's backward gives; the averages follow from these.
    convert_case(lavis / "stage1_two_rank", target / "stage1_two_rank",
                 keep=lambda name: name.split(".")[-1] in {"loss", "loss_itc", "loss_itm", "loss_lm"},
                 inputs=False)
    two = load_file(target / "stage1_two_rank" / "expected.safetensors")
    kept = {n: t for n, t in two.items() if not n.startswith("ddp_average")}
    save_file(kept, target / "stage1_two_rank" / "expected.safetensors", metadata={"format": "pt"})
    for case in ("stage2_opt_prompt", "stage2_opt_empty_prompt", "stage2_t5"):
        convert_case(lavis / case, target / case, keep=lambda name: name not in {"logits", "image_embeds"})

    vision = target.parent / "vision"
    vision.mkdir(exist_ok=True)
    clip = {}
    for name, tensor in load_file(lavis / "clip_vit" / "model_full.safetensors").items():
        block = re.match(r"transformer\.resblocks\.(\d+)\.(.*)", name)
        if block and int(block[1]) < 3:
            prefix, rest = f"encoder.layers.{block[1]}.", block[2]
            if rest.startswith("attn.in_proj_"):
                for part, piece in zip("qkv", np.split(tensor, 3)):
                    clip[f"{prefix}self_attn.{part}_proj.{rest[13:]}"] = piece
            else:
                for old, new in (("attn.", "self_attn."), ("ln_", "layer_norm"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2")):
                    rest = rest.replace(old, new)
                clip[prefix + rest] = tensor
        elif name.startswith("ln_pre"):
            clip[name.replace("ln_pre", "pre_layrnorm")] = tensor
        elif name.startswith("class_embedding"):
            clip["embeddings.class_embedding"] = tensor
        elif name.startswith("positional_embedding"):
            clip["embeddings.position_embedding.weight"] = tensor
        elif name.startswith("conv1"):
            clip["embeddings.patch_embedding.weight"] = tensor
    save_file({n: np.ascontiguousarray(t) for n, t in clip.items()}, vision / "clip_model.safetensors", metadata={"format": "pt"})
    for file in ("inputs", "expected"):
        shutil.copy(lavis / "clip_vit" / f"{file}.safetensors", vision / f"clip_{file}.safetensors")
        shutil.copy(lavis / "pos_embed" / f"{file}.safetensors", vision / f"positions_{file}.safetensors")
    shutil.copy(lavis / "clip_vit" / "blip2_config.json", vision / "clip_config.json")


main()
