#!/usr/bin/env python3
"""Writes tests/data/generate from reference cases computed with Hugging Face transformers.

Usage: make_generate_test_data.py FIXTURES
FIXTURES is the folder with the reference cases `huggingface/logits_processors`, `huggingface/opt_tiny` and
`huggingface/t5_tiny`. The first is copied. Of the others the language model, the projected tokens of three pictures and
what `generate` and the ranking of answers gave for them are kept; numbers are copied as they are.
"""
import json
import pathlib
import re
import shutil
import struct
import sys

CASES = ["opt_tiny", "t5_tiny"]


def read_tensors(path):
    """name -> (dtype, shape, bytes) of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    start = 8 + length
    return {name: (info["dtype"], info["shape"], data[start + info["data_offsets"][0]:start + info["data_offsets"][1]])
            for name, info in header.items()}


def write_tensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in sorted(tensors.items()):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors[name][2] for name in sorted(tensors)))


def write_json(path, value):
    text = json.dumps(value, indent=1)
    text = re.sub(r"\[\n[-+0-9.eE,\s]*\]", lambda match: re.sub(r"\s+", "", match.group()), text)
    path.write_text(text + "\n", encoding="utf-8")


def kept_entry(entry, pictures):
    """What search gave, without the texts; rows of other pictures keep their picture's number only."""
    rows = entry["rows"]
    result = {key: entry[key] for key in ("options", "sequences", "new_tokens", "sequences_scores", "input_ids",
                                          "attention_mask", "single_equals_batch") if key in entry}
    result["rows"] = [row["image"] for row in rows]
    singles = entry.get("single_rows", [None] * len(rows))
    result["single_rows"] = [one if row["image"] < pictures else None for row, one in zip(rows, singles)]
    return result


def main():
    fixtures = pathlib.Path(sys.argv[1]) / "huggingface"
    target = pathlib.Path(__file__).parent.parent / "tests/data/generate"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(fixtures / "logits_processors", target / "logits_processors", copy_function=shutil.copyfile)
    for name in CASES:
        folder = target / name
        folder.mkdir(parents=True)
        weights = read_tensors(fixtures / name / "model/model.safetensors")
        write_tensors(folder / "model.safetensors",
                      {key: value for key, value in weights.items() if key.startswith("language_model.")})
        projected = read_tensors(fixtures / name / "expected.safetensors")["projected_tokens"]
        write_tensors(folder / "expected.safetensors", {"projected_tokens": projected})
        shutil.copyfile(fixtures / name / "model/config.json", folder / "config.json")
        expected = json.loads((fixtures / name / "expected.json").read_text(encoding="utf-8"))
        entries = {key: kept_entry(entry, projected[1][0]) for key, entry in expected["generate"].items()
                   if any(row["image"] < projected[1][0] for row in entry["rows"])}
        ranked = [{key: value for key, value in one.items() if key != "prompt"} for one in expected["rank_answers"]]
        write_json(folder / "expected.json", {"generate": entries, "rank_answers": ranked})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
