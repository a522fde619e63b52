#!/usr/bin/env python3
"""Writes tests/data/lavis: what LAVIS's own checkpoints hold, tensor by tensor, without the numbers.

Usage: make_lavis_test_data.py FIXTURES   (needs numpy and safetensors)
FIXTURES is the folder with `lavis/stage1_model`, `lavis/stage2_opt_model`... Of every tensor under LAVIS's name: dtype,
shape and the 64-bit FNV-1a hash of its bytes. The numbers lie in tests/data/models, under Hugging Face's names.
"""
import json
import pathlib
import sys

from safetensors.numpy import load_file


def fingerprint(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def describe(tensors):
    return {name: [str(t.dtype), list(t.shape), fingerprint(t.tobytes())] for name, t in sorted(tensors.items())}


def main():
    lavis = pathlib.Path(sys.argv[1]) / "lavis"
    target = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "lavis"
    target.mkdir(exist_ok=True)
    models = {name: load_file(lavis / name / "model.safetensors")
              for name in ("stage1_model", "stage2_opt_model", "stage2_t5_model")}
    models["clip_vit"] = load_file(lavis / "clip_vit" / "model_full.safetensors")
    for name, tensors in models.items():
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in describe(tensors).items()]
        (target / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
