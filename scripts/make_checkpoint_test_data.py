#!/usr/bin/env python3
"""Makes tests/data/checkpoint: damaged and hostile weight files and what the reference readers say of each.

    scripts/make_checkpoint_test_data.py --reference FOLDER

FOLDER is the reference set; its huggingface/safetensors_bad and huggingface/torch_bad are copied as they are. Its script
make_malformed.py made them with torch 2.15.0 and safetensors 0.8 (seed 91) and asked both libraries for verdicts.json.
Files that the reference set lacks are written by the tests themselves (tests/support/torch_file.h).
"""
import argparse
import pathlib
import shutil

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "checkpoint"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=pathlib.Path, required=True)
    reference = parser.parse_args().reference / "huggingface"
    for name in ["safetensors_bad", "torch_bad"]:
        shutil.rmtree(OUTPUT / name, ignore_errors=True)
        (OUTPUT / name).mkdir(parents=True)
        for file in sorted((reference / name).iterdir()):
            shutil.copyfile(file, OUTPUT / name / file.name)


if __name__ == "__main__":
    main()
