#!/usr/bin/env python3
"""Copies the reference cases of LAVIS that the tests run through `trace` to tests/data/lavis_cases, as they are.

Usage: make_lavis_case_data.py FIXTURES
FIXTURES is the folder with the cases, `lavis/stage1_model`, `lavis/stage1_train` and so on.
"""
import pathlib
import shutil
import sys

CASES = ["stage1_model", "stage1_train", "stage1_train_accum2", "stage1_trained", "stage1_captioner",
         "stage1_features", "stage1_retrieval", "optimizer_groups", "lr_schedules"]
FILES = ["inputs.safetensors", "expected.safetensors", "expected.json", "model.safetensors", "blip2_config.json",
         "vocab.txt"]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    source = pathlib.Path(sys.argv[1]) / "lavis"
    target = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "lavis_cases"
    for case in CASES:
        (target / case).mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if (source / case / name).exists():
                shutil.copyfile(source / case / name, target / case / name)


if __name__ == "__main__":
    main()
