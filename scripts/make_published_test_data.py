#!/usr/bin/env python3
"""Writes tests/data/cases from reference cases computed with Hugging Face.

Usage: make_published_test_data.py FIXTURES
FIXTURES is the folder with the reference cases `huggingface/opt_sharded_bf16` and `huggingface/itm_tiny`. The model
folders are copied as they are; of inputs and expectations only what the tests read, for three pictures.
"""
import json
import pathlib
import shutil
import sys

from safetensors.numpy import load_file, save_file

PICTURES = 3
GENERATED = ("beam_5_no_prompt", "greedy_no_prompt")
OPT = ("projected_tokens", "vision.hidden_states.1", "qformer.hidden_states.2", "forward.left.logits",
       "forward.left.loss", "forward.right.loss", "forward.suffix.loss", "forward.right.lm_hidden_states.1")
RETRIEVAL = ("itc.logits_per_image", "itm.logits_per_image", "text_with_projection.shifted_positions.text_embeds",
             "loss.itc", "loss.itm", "grad.query_tokens", "grad.text_projection.weight",
             "grad.vision_model.embeddings.position_embedding")


def copy_case(source, target, expected_names, inputs):
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source / "model", target / "model")
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    tensors = load_file(source / "inputs.safetensors")
    kept = {f"image.{i}": tensors[f"image.{i}"] for i in range(PICTURES)}
    kept["pixel_values"] = tensors["pixel_values"][:PICTURES]
    kept.update({name: tensor for name, tensor in tensors.items() if inputs(name)})
    save_file(kept, target / "inputs.safetensors", metadata={"format": "pt"})
    expected = load_file(source / "expected.safetensors")
    save_file({n: expected[n] for n in expected_names}, target / "expected.safetensors", metadata={"format": "pt"})


def main():
    fixtures = pathlib.Path(sys.argv[1]) / "huggingface"
    target = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "cases"
    opt, retrieval = target / "opt_sharded_bf16", target / "itm_tiny"
    copy_case(fixtures / "opt_sharded_bf16", opt, OPT, lambda name: name.startswith("forward."))
    generate = json.loads((fixtures / "opt_sharded_bf16" / "expected.json").read_text())["generate"]
    kept = {}
    for name in GENERATED:
        entry = generate[name]
        rows = [i for i, row in enumerate(entry["rows"]) if row["image"] < PICTURES]
        assert rows and entry["single_equals_batch"] and all(entry["rows"][i]["prompt"] is None for i in rows)
        kept[name] = {
            "options": entry["options"],
            "rows": [entry["rows"][i] for i in rows],
            "new_tokens": [entry["new_tokens"][i] for i in rows],
            "text": [entry["text"][i] for i in rows],
        }
    (opt / "expected.json").write_text(json.dumps({"generate": kept}, indent=1) + "\n")
    copy_case(fixtures / "itm_tiny", retrieval, RETRIEVAL, lambda name: "input_ids" in name or "mask" in name)
    asked = json.loads((fixtures / "itm_tiny" / "expected.json").read_text())
    kept = {name: asked[name] for name in ("itm_labels", "itc_temperature")}
    (retrieval / "expected.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
