#!/usr/bin/env python3
"""Writes tests/data/lm from reference cases computed with Hugging Face transformers and LAVIS.

Usage: make_lm_test_data.py FIXTURES
FIXTURES is the folder with the reference cases `huggingface/opt_tiny`, `lavis/stage2_t5`, ... Of a case the language
model's weights are kept whole; of large expected tensors every n-th slice, as said at THINNED. Numbers are copied as they
are. Needs only Python itself.
"""
import json
import pathlib
import struct
import sys

# Which dimension of an expected tensor is thinned, and to every how manyth slice.
THINNED = [
    (".logits", -1, 9),  # vocabulary
    ("_hidden_states.", 1, 6),  # tokens
    ("grad.", 0, 4),  # rows of a weight
]


def load(path):
    """Name -> (dtype, shape, bytes)."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length:]
    return {n: (h["dtype"], h["shape"], body[slice(*h["data_offsets"])]) for n, h in header.items()}


def save(tensors, path):
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, data) in sorted(tensors.items()):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def every(tensor, dimension, step):
    """The slices 0, step, 2 step, ... of one dimension."""
    dtype, shape, data = tensor
    dimension %= len(shape)
    outer = 1
    for size in shape[:dimension]:
        outer *= size
    slice_bytes = len(data) // (outer * shape[dimension])
    kept = [
        data[(o * shape[dimension] + i) * slice_bytes:][:slice_bytes]
        for o in range(outer)
        for i in range(0, shape[dimension], step)
    ]
    shape = list(shape)
    shape[dimension] = len(range(0, shape[dimension], step))
    return dtype, shape, b"".join(kept)


def thin(name, tensor):
    for part, dimension, step in THINNED:
        if part in name or name == part[1:]:
            if name.startswith("grad.") and len(tensor[1]) == 1:
                return tensor
            return every(tensor, dimension, step)
    return tensor


def hugging_face(source, target, runs):
    """Weights, config and the passes in `runs` of a generative case."""
    config = json.loads((source / "model" / "config.json").read_text())
    kept = {"image_token_index": config["image_token_index"], "text_config": config["text_config"]}
    prefix = "language_model."
    weights = load(source / "model" / "model.safetensors")
    save({n[len(prefix):]: t for n, t in weights.items() if n.startswith(prefix)}, target / "model.safetensors")
    (target / "config.json").write_text(json.dumps(kept, indent=1) + "\n")
    case = {n: t for n, t in load(source / "inputs.safetensors").items() if n.startswith("forward.")}
    for name, tensor in load(source / "expected.safetensors").items():
        if name.startswith("grad." + prefix):
            name = "grad." + name[len("grad." + prefix):]
        elif name != "projected_tokens" and not name.startswith(runs):
            continue
        case[name] = thin(name, tensor)
    save(case, target / "case.safetensors")


def main():
    fixtures = pathlib.Path(sys.argv[1])
    target = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "lm"
    for name in ("opt_tiny", "t5_relu_tied"):
        hugging_face(fixtures / "huggingface" / name, target / name, ("forward.right", "forward.left", "forward.suffix"))
    # The rest of these cases lies in tests/data/models.
    for name in ("stage2_opt_prompt", "stage2_opt_empty_prompt", "stage2_t5"):
        logits = load(fixtures / "lavis" / name / "expected.safetensors")["logits"]
        save({"logits": thin("logits", logits)}, target / f"{name}_logits.safetensors")


main()
