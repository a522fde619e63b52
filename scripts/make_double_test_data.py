#!/usr/bin/env python3
"""Writes tests/data/double: what Hugging Face computes in float64 from the models in tests/data.

Usage: make_double_test_data.py
transformers narrows to float32 on the way (OPT's softmax, T5's norms), whatever the model's dtype; that is taken out
here, so that every digit can be compared. Stored: losses, logits (every 9th of the vocabulary) and some gradients.
Needs transformers 5.23.0 and torch.
"""
import json
import pathlib

import torch
import transformers.models.t5.modeling_t5 as t5
from safetensors.torch import load_file, save_file
from transformers import Blip2ForConditionalGeneration, T5Config, T5ForConditionalGeneration

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
VOCABULARY_STEP = 9
GRADIENTS = {
    "opt": ("query_tokens", "language_projection.weight", "vision_model.embeddings.patch_embedding.weight",
            "vision_model.encoder.layers.1.self_attn.qkv.weight",
            "qformer.encoder.layer.0.crossattention.attention.key.weight",
            "qformer.encoder.layer.1.intermediate_query.dense.weight",
            "language_model.model.decoder.layers.1.self_attn.q_proj.weight"),
    "t5": ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
           "encoder.block.1.layer.0.layer_norm.weight", "decoder.block.1.layer.1.EncDecAttention.k.weight",
           "decoder.block.1.layer.2.DenseReluDense.wo.weight", "shared.weight"),
}


def stay_in_double():
    softmax, to_float = torch.nn.functional.softmax, torch.Tensor.float

    def own_softmax(x, dim=None, _stacklevel=3, dtype=None):
        return softmax(x, dim=dim, dtype=None if x.dtype == torch.float64 else dtype)

    def norm(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    torch.nn.functional.softmax = own_softmax
    torch.Tensor.float = lambda x, *rest: x.contiguous() if x.dtype == torch.float64 else to_float(x, *rest)
    t5.T5LayerNorm.forward = norm


def write(name, model, output):
    output.loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters()}
    tensors = {"loss": output.loss, "logits": output.logits[..., ::VOCABULARY_STEP],
               **{f"grad.{n}": gradients[n] for n in GRADIENTS[name]}}
    assert all(tensor.dtype == torch.float64 for tensor in tensors.values())
    (DATA / "double").mkdir(exist_ok=True)
    save_file({n: tensor.detach().contiguous() for n, tensor in tensors.items()},
              str(DATA / "double" / f"{name}.safetensors"), metadata={"format": "pt"})


def opt():
    folder = DATA / "cases" / "opt_sharded_bf16"
    model = Blip2ForConditionalGeneration.from_pretrained(folder / "model", attn_implementation="eager")
    inputs = load_file(folder / "inputs.safetensors")
    prefix = "forward.left."
    model = model.double().eval()
    write("opt", model, model(pixel_values=inputs["pixel_values"].double(),
                              **{n: inputs[prefix + n] for n in ("input_ids", "attention_mask", "labels")}))


def flan_t5():
    folder = DATA / "lm" / "t5_relu_tied"
    config = json.loads((folder / "config.json").read_text())
    model = T5ForConditionalGeneration(T5Config(**config["text_config"])).double().eval()
    weights = {n: tensor.double() for n, tensor in load_file(folder / "model.safetensors").items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all(n.endswith("embed_tokens.weight") or n == "lm_head.weight" for n in missing), missing
    case = load_file(folder / "case.safetensors")
    prefix = "forward.right."
    ids = case[prefix + "input_ids"]
    image = ids == config["image_token_index"]
    embeds = model.shared(ids.masked_fill(image, 0))
    embeds = embeds.masked_scatter(image.unsqueeze(-1).expand_as(embeds), case["projected_tokens"].double())
    write("t5", model, model(inputs_embeds=embeds, attention_mask=case[prefix + "attention_mask"],
                             labels=case[prefix + "labels"]))


if __name__ == "__main__":
    torch.manual_seed(0)
    stay_in_double()
    opt()
    flan_t5()
