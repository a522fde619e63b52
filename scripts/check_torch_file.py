#!/usr/bin/env python3
"""Opens tests/data/checkpoint/written.pth, which save_torch_archive wrote in the test of that name, as Python does.

Usage: check_torch_file.py [FILE]   (needs torch)
"""
import pathlib
import sys
import zipfile

import torch

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
DTYPES = ["Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool"]
TORCH = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16,
         torch.int8, torch.uint8, torch.bool]


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else DATA / "checkpoint" / "written.pth"
    assert zipfile.ZipFile(path).testzip() is None
    for restricted in (True, False):
        tensors = torch.load(path, weights_only=restricted)["model"]
        expected = {f"of.{n}": (torch.arange(6).view(2, 3) + i).to(d) for i, (n, d) in enumerate(zip(DTYPES, TORCH))}
        expected["scalar"] = torch.tensor(0.07)
        expected["empty"] = torch.zeros(0, 3)
        expected["turned"] = torch.arange(12.0).view(3, 4).t()
        expected["part"] = torch.arange(12.0)[1:9:2]
        expected['name with "quotes" and \u00e4'] = torch.ones(1)
        assert tensors.keys() == expected.keys(), tensors.keys()
        for name, tensor in expected.items():
            assert tensors[name].dtype == tensor.dtype and torch.equal(tensors[name], tensor), name
    torch.load(path, mmap=True, weights_only=True)
    print(f"{path}: {len(expected)} tensors are what they should be")


if __name__ == "__main__":
    main()
