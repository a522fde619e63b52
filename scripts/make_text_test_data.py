#!/usr/bin/env python3
"""Makes tests/data/text: what Hugging Face's tokenizers library does to every code point, what LAVIS does to texts, and
the ids and texts that Hugging Face's OPT and T5 tokenizers give for odd strings.

    scripts/make_text_test_data.py --reference FOLDER

FOLDER is the reference set (its lavis/ and huggingface/ are read). Needs `pip install tokenizers` (made with 0.23.3).
bert_characters.txt has a line `FIRST LAST CLASS` for each run of code points that is not simply kept: `dropped`,
`space`, `isolated` (a word of its own), and `accent` (kept, but dropped when lower-casing).
"""
import argparse
import json
import pathlib
import shutil

from tokenizers import normalizers, pre_tokenizers

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "text"


def words(code_point, lowercase):
    normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=None)
    text = normalizer.normalize_str(f"a{chr(code_point)}b")
    return [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)]


def character_class(code_point):
    found = words(code_point, lowercase=False)
    if found == ["ab"]:
        return "dropped"
    if found == ["a", "b"]:
        return "space"
    if len(found) == 3:
        return "isolated"
    return "accent" if words(code_point, lowercase=True) == ["ab"] else "kept"


def write_characters(path):
    runs = []
    for code_point in range(0x110000):
        if 0xD800 <= code_point <= 0xDFFF:
            continue
        name = character_class(code_point)
        if runs and runs[-1][2] == name and runs[-1][1] == code_point - 1:
            runs[-1][1] = code_point
        else:
            runs.append([code_point, code_point, name])
    lines = [f"{first:X} {last:X} {name}\n" for first, last, name in runs if name != "kept"]
    path.write_text("".join(lines))


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines))


def write_tokenizer_lines(reference):
    """opt.jsonl and t5.jsonl: the folder's tokenizer.json; class_*: T5's class, where white space at the end is dropped."""
    lines = reference / "tokenizers"
    kept = ("text", "ids", "decoded", "decoded_raw", "decoded_clean")
    opt = read_lines(lines / "opt_tokenizer_json.jsonl")
    write_lines(OUTPUT / "opt.jsonl", [{key: line[key] for key in kept} for line in opt])
    t5 = []
    for line, of_class in zip(read_lines(lines / "t5_tokenizer_json.jsonl"), read_lines(lines / "t5_class_current.jsonl")):
        assert line["text"] == of_class["text"]
        t5.append({key: line[key] for key in kept[:4]} | {f"class_{key}": of_class[key] for key in ("ids", "decoded")})
    write_lines(OUTPUT / "t5.jsonl", t5)
    side_files = ("added_tokens.json", "special_tokens_map.json", "tokenizer_config.json")
    for name, files in (("opt", ("vocab.json", "merges.txt")), ("t5", ("spiece.model",))):
        (OUTPUT / name).mkdir(exist_ok=True)
        for file in files + side_files:
            shutil.copyfile(reference / f"{name}_tiny" / "model" / file, OUTPUT / name / file)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=pathlib.Path, required=True)
    reference = parser.parse_args().reference
    lavis = reference / "lavis"
    OUTPUT.mkdir(parents=True, exist_ok=True)
    write_tokenizer_lines(reference / "huggingface")
    write_characters(OUTPUT / "bert_characters.txt")
    shutil.copyfile(lavis / "stage1_model" / "vocab.txt", OUTPUT / "lavis_vocab.txt")
    shutil.copyfile(lavis / "text_processors" / "expected.json", OUTPUT / "lavis_text_processors.json")
    captions = json.loads((lavis / "stage1_forward" / "expected.json").read_text())
    kept = {key: captions[key] for key in ("captions", "decoded", "tokens")}
    (OUTPUT / "lavis_captions.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
