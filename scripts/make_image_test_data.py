"""Trims the image reference data to what tests/image needs: the source pictures, 64-bit FNV-1a fingerprints of decoded
and resampled pixels, two sets of pixel values, and all augmented pictures one below the other. Needs numpy and Pillow.

    python scripts/make_image_test_data.py --fixtures FIXTURES --out tests/data/image

FIXTURES holds huggingface/image_processor, lavis/image_transforms and lavis/randaugment as written by the reference
scripts."""

import argparse
import json
import shutil
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps


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


def augmentation(operation, level, argument=None):
    step = dict(operation=operation, level=level, negative=argument is not None and argument < 0)
    return step if argument is None else dict(step, argument=argument)


def lavis_augmentations(folder, about):
    """What LAVIS makes of its pictures: key, source, operations, pixels."""
    expected = read_safetensors(folder / "expected.safetensors")
    for case in about["operations"]:
        step = augmentation(case["op"], case["level"], *case["args"][:1])
        yield case["key"], case["image"], [step], expected[case["key"]]
    key = "photo.Rotate15_then_TranslateX-5"
    yield key, "photo", [augmentation("Rotate", 5, 15.0), augmentation("TranslateX", 5, -5.0)], expected[key]


def pillow_augmentations(inputs):
    """What Pillow makes of them, also at levels of which LAVIS's pictures show nothing or bytes that overflow."""
    for image, pixels in inputs.items():
        picture = Image.fromarray(pixels)
        whole = dict(AutoContrast=ImageOps.autocontrast, Equalize=ImageOps.equalize)
        for operation, apply in whole.items():
            yield f"{image}.{operation}.pillow", image, [augmentation(operation, 5)], np.asarray(apply(picture))
        enhancers = dict(Brightness=ImageEnhance.Brightness, Sharpness=ImageEnhance.Sharpness)
        for operation, enhancer in enhancers.items():
            for level in (0, 9):
                factor = level / 10 * 1.8 + 0.1
                key = f"{image}.{operation}.level{level}.pillow"
                result = np.asarray(enhancer(picture).enhance(factor))
                yield key, image, [augmentation(operation, level, factor)], result


def write_augmentations(folder, out):
    """rand_augment.png: sources and results from top to bottom, none twice; rand_augment.json: which is what."""
    about = json.loads((folder / "expected.json").read_text())
    inputs = read_safetensors(folder / "inputs.safetensors")
    sheet, cases = list(inputs.values()), []
    results = [(case, True) for case in lavis_augmentations(folder, about)]
    results += [(case, False) for case in pillow_augmentations(inputs)]
    for (key, image, steps, pixels), overflow in results:
        row = next((i for i, known in enumerate(sheet) if np.array_equal(known, pixels)), len(sheet))
        if row == len(sheet):
            sheet.append(pixels)
        source = list(inputs).index(image)
        case = dict(key=key, source=source, steps=steps, lavis_overflow=overflow, result=row)
        cases.append(json.dumps(case))
    Image.fromarray(np.concatenate(sheet)).save(out / "rand_augment.png", optimize=True)
    text = f'{{"height": {sheet[0].shape[0]}, "cases": [\n' + ",\n".join(cases) + "\n]}\n"
    (out / "rand_augment.json").write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixtures", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = hugging_face(arguments.fixtures / "huggingface/image_processor", arguments.out)
    result.update(lavis(arguments.fixtures / "lavis/image_transforms", arguments.out))
    write_augmentations(arguments.fixtures / "lavis/randaugment", arguments.out)
    (arguments.out / "expected.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
