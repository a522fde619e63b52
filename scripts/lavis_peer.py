"""LAVIS's Blip2Qformer in the sizes of a stage-1 run of blip2, fed with recorded batches; for the scripts beside it.

Needs torch, torchvision, transformers 4.33, timm 0.4.12, omegaconf, pandas, and the Python package `lavis` in the folder
that the environment variable LAVIS_PATH names. Of LAVIS nothing is changed but where weights, ids and draws come from.
"""
import os
import pathlib
import re
import sys
import types
from functools import partial
from unittest import mock

import torch
from safetensors.torch import load_file

UNUSED = ("iopath", "iopath.common", "iopath.common.download", "iopath.common.file_io", "fairscale", "fairscale.nn",
          "fairscale.nn.checkpoint", "fairscale.nn.checkpoint.checkpoint_activations")

RENAMES = [
    (r"^vision_model\.embeddings\.class_embedding", "visual_encoder.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding", "visual_encoder.pos_embed"),
    (r"^vision_model\.embeddings\.patch_embedding", "visual_encoder.patch_embed.proj"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.layer_norm(\d)", r"visual_encoder.blocks.\1.norm\2"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.projection", r"visual_encoder.blocks.\1.attn.proj"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn", r"visual_encoder.blocks.\1.attn"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.mlp", r"visual_encoder.blocks.\1.mlp"),
    (r"^vision_model\.post_layernorm", "ln_vision"),
    (r"^qformer\.layernorm", "Qformer.bert.embeddings.LayerNorm"),
    (r"^embeddings\.", "Qformer.bert.embeddings."),
    (r"^qformer\.encoder\.layer\.(\d+)\.(cross)?attention\.attention", r"Qformer.bert.encoder.layer.\1.\2attention.self"),
    (r"^qformer\.", "Qformer.bert."),
    (r"^itg_head\.", "Qformer.cls.predictions."),
    (r"^vision_projection", "vision_proj"),
    (r"^text_projection", "text_proj"),
    (r"^temperature$", "temp"),
]


def fail(sentence):
    print(f"{pathlib.Path(sys.argv[0]).stem}: {sentence}", file=sys.stderr)
    sys.exit(2)


def check(condition, sentence):
    if not condition:
        fail(sentence)


def setting(config, path, default=None):
    value = config
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    value = default if value is None else value
    check(value is not None, f"the run's config names no {path}")
    return value


def section(config, path):
    """setting() for the names of one section."""
    return lambda name, default=None: setting(config, f"{path}.{name}", default)


def lend_lavis():
    """Makes `lavis.*` importable without the __init__ files of its packages, which want all models and data sets."""
    root = os.environ.get("LAVIS_PATH", "")
    check(os.path.isdir(os.path.join(root, "lavis", "models")),
          "the environment variable LAVIS_PATH names no folder that holds the Python package lavis")
    for name in ("lavis", "lavis.common", "lavis.models", "lavis.models.blip_models", "lavis.models.blip2_models"):
        package = sys.modules[name] = types.ModuleType(name)
        package.__path__ = [os.path.join(root, *name.split("."))]
    for name in UNUSED:  # imported, never called
        sys.modules[name] = mock.MagicMock()
    import transformers
    from lavis.models.base_model import BaseModel
    sys.modules["lavis.models"].BaseModel = BaseModel
    transformers.logging.set_verbosity_error()
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)


def make_tokenizer(size):
    """Called with whatever text, it gives its `return_value`, the batch at hand; [DEC] is the last id."""
    tokenizer = mock.MagicMock(bos_token_id=size - 1, pad_token_id=0)
    tokenizer.__len__.return_value = size
    return tokenizer


def make_vision_tower(config, img_size, drop_path_rate, use_checkpoint, precision):
    import lavis.models.eva_vit as eva
    eva.trunc_normal_ = lambda *_, **__: None  # slow, and every weight is loaded
    size = section(config, "model.vision_config")
    return eva.VisionTransformer(
        img_size=img_size, patch_size=size("patch_size"), embed_dim=size("hidden_size"), depth=size("num_hidden_layers"),
        num_heads=size("num_attention_heads"), mlp_ratio=(size("intermediate_size") + 0.5) / size("hidden_size"),
        norm_layer=partial(torch.nn.LayerNorm, eps=size("layer_norm_eps", 1e-6)), qkv_bias=True, use_mean_pooling=False)


def make_qformer(config, num_query_token, vision_width, cross_attention_freq):
    from lavis.models.blip2_models.Qformer import BertConfig, BertLMHeadModel
    size = section(config, "model.qformer_config")
    bert = BertConfig(
        vocab_size=size("vocab_size") - 1,  # LAVIS adds [DEC] itself
        hidden_size=size("hidden_size"), num_hidden_layers=size("num_hidden_layers"), pad_token_id=0,
        num_attention_heads=size("num_attention_heads"), intermediate_size=size("intermediate_size"),
        max_position_embeddings=size("max_position_embeddings", 512), layer_norm_eps=size("layer_norm_eps", 1e-12),
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, add_cross_attention=True,
        cross_attention_freq=cross_attention_freq, encoder_width=vision_width, query_length=num_query_token)
    return BertLMHeadModel(bert), torch.nn.Parameter(torch.zeros(1, num_query_token, bert.hidden_size))


def make_model(config, double=False):
    """Without dropout, in float32 or float64; the weights are those of load_weights."""
    import lavis.models.blip2_models.blip2 as base
    from lavis.models.blip2_models.blip2_qformer import Blip2Qformer
    size = section(config, "model")
    base.create_eva_vit_g = partial(make_vision_tower, config)
    base.Blip2Base.init_Qformer = partial(make_qformer, config)
    base.Blip2Base.init_tokenizer = partial(make_tokenizer, size("qformer_config.vocab_size"))
    if double:
        base.LayerNorm.forward = torch.nn.LayerNorm.forward  # LAVIS's computes in float32
    model = Blip2Qformer(
        img_size=size("vision_config.image_size"), vit_precision="fp32", freeze_vit=setting(config, "vision.frozen", True),
        num_query_token=size("num_query_tokens"), embed_dim=size("image_text_hidden_size"),
        cross_attention_freq=size("qformer_config.cross_attention_frequency"))
    return (model.double() if double else model).train()


def lavis_names(tensors):
    """Weights under LAVIS's names. It knows no bias for the image encoder's keys, which changes nothing."""
    result = {}
    for name, tensor in tensors.items():
        for ours, theirs in RENAMES:
            name, count = re.subn(ours, theirs, name)
            if count:
                break
        if name.endswith("attn.qkv.bias"):
            query, _, value = tensor.chunk(3)
            result[name.replace("qkv.bias", "q_bias")], result[name.replace("qkv.bias", "v_bias")] = query, value
        else:
            result[name] = tensor
    result["Qformer.cls.predictions.decoder.weight"] = result["Qformer.bert.embeddings.word_embeddings.weight"]
    result["Qformer.cls.predictions.decoder.bias"] = result["Qformer.cls.predictions.bias"]
    return result


def load_weights(model, path):
    """Every weight from what blip2 recorded before its first step."""
    try:
        weights = lavis_names(load_file(path))
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except Exception as error:  # a damaged file leads to whatever it likes
        fail(f"cannot load '{path}' into LAVIS's model: {' '.join(str(error).split())[:400]}")
    for problem, names in (("lacks", missing), ("has what LAVIS does not know:", unexpected)):
        names = [name for name in names if not name.endswith("position_ids")]
        check(not names, f"'{path}' {problem} {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}")


def make_optimizer(model, config):
    """LAVIS's groups of today: no decay for biases and what is 1-D. Version 1.0.2 would spare the 0-D `temp` as well."""
    groups = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[parameter.ndim != 1 and not name.endswith(".bias")].append(parameter)
    train = section(config, "train")
    groups = [{"params": parameters, "weight_decay": train("weight_decay", 0.05) * decayed}
              for decayed, parameters in groups.items()]
    return torch.optim.AdamW(groups, betas=(train("beta1", 0.9), train("beta2", 0.999)), eps=train("epsilon", 1e-8))


def knows_image_ids(model):
    """Whether LAVIS counts texts with the same image id as fitting, as it does since July 2023."""
    return "image_id" in type(model).forward.__code__.co_consts


def losses(model, batch):
    """What LAVIS's forward() gives for a recorded batch, with its negatives."""
    from transformers import BatchEncoding
    model.tokenizer.return_value = BatchEncoding({name: batch[name] for name in ("input_ids", "attention_mask")})
    samples = {"image": batch["pixels"].to(model.temp.dtype), "text_input": [""] * len(batch["pixels"])}
    if "image_ids" in batch:
        samples["image_id"] = batch["image_ids"]
    draws = iter(torch.cat([batch["negative_image_rows"], batch["negative_text_rows"]]).view(-1, 1))
    with mock.patch("torch.multinomial", lambda *_: next(draws)):  # LAVIS draws all images first
        return model(samples)
