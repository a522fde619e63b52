"""Trims the image reference data to what tests/image needs: the source pictures, 64-bit FNV-1a fingerprints of decoded
and resampled pixels, and two sets of pixel values. Needs numpy and Pillow.

    python scripts/make_image_test_data.py --fixtures FIXTURES --out tests/data/image

FIXTURES holds huggingface/image_processor and lavis/image_transforms as written by the reference scripts."""

import argparse
import json
import shutil
import struct
from pathlib import Path

import numpy as np
from PIL import Image


def read_safetensors(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        dtype = {"U8": np.uint8, "F32": np.float32}[entry["dtype"]]
        tensors[name] = np.frombuffer(content[begin:end], dtype).reshape(entry["shape"])
    return tensors


def fingerprint(pixels):
    value = 0xCBF29CE484222325
    for byte in pixels.tobytes():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def record(file, pixels, **extra):
    return dict(file=file, **extra, height=pixels.shape[0], width=pixels.shape[1], pixels=fingerprint(pixels))


def hugging_face(folder, out):
    decoded = read_safetensors(folder / "decoded.safetensors")
    expected = read_safetensors(folder / "expected.safetensors")
    about = json.loads((folder / "expected.json").read_text())
    for file in sorted((folder / "files").iterdir()):
        shutil.copyfile(file, out / file.name)
    result = dict(decoded=[record(name, value) for name, value in decoded.items() if not name.endswith(".tolerant")])
    resized = []
    crops = {crop["key"]: crop for crop in about["crops"]}
    for key in expected:
        if "pixel_values" in key or key.endswith(".horizontal_first"):
            continue
        pixels = expected.get(f"{key}.horizontal_first", expected[key])
        if key in crops:
            c = crops[key]
            resized.append(record(c["file"], pixels, box=[c["i"], c["j"], c["h"], c["w"]], flip=c["flip"]))
        else:
            resized.append(record(key.rsplit(".", 1)[0], pixels))
    for file in ("rgb.png", "rgb_420.jpg"):
        expected[f"{file}.pixel_values"].tofile(out / f"{file}.pixel_values.f32")
    return dict(result, resized=resized)


def lavis(folder, out):
    inputs = read_safetensors(folder / "inputs.safetensors")
    expected = read_safetensors(folder / "expected.safetensors")
    about = json.loads((folder / "expected.json").read_text())
    for name, pixels in inputs.items():
        Image.fromarray(pixels).save(out / f"lavis_{name}.png")
    records = [record(f"lavis_{name}.png", expected[f"{name}.eval_uint8"]) for name in inputs]
    for c in about["crops"]:
        name = "lavis_" + c["key"].split(".")[0] + ".png"
        box = [c["top"], c["left"], c["height"], c["width"]]
        records.append(record(name, expected[c["key"] + "_uint8"], box=box, flip=c["flip"]))
    # Made with Pillow 13, which resamples vertically first when a picture gets wider and lower.
    source = lambda r: r["box"][2:] if "box" in r else inputs[r["file"][6:12]].shape[:2]
    records = [r for r in records if not (source(r)[0] > r["height"] and source(r)[1] < r["width"])]
    return dict(lavis_resized=records, crop_statistics=about["random_resized_crop_statistics"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixtures", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = hugging_face(arguments.fixtures / "huggingface/image_processor", arguments.out)
    result.update(lavis(arguments.fixtures / "lavis/image_transforms", arguments.out))
    (arguments.out / "expected.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
