#!/usr/bin/env python3
"""Makes tests/data/text/tokenizer_json: small tokenizer.json files for every part that the library reads, and the ids and
texts that Hugging Face's tokenizers library gives with them.

    scripts/make_tokenizer_json_test_data.py --reference FOLDER

FOLDER is the reference set: its huggingface/{opt,t5}_tiny/model/tokenizer.json are copied, their lines are opt.jsonl and
t5.jsonl of make_text_test_data.py. Needs `pip install tokenizers` (made with 0.23.3). components.jsonl has a line
`{"name", "tokenizer", "lines": [{"text", "ids", "plain_ids", "decoded", "decoded_raw"}]}` for every case; "plain_ids" are
those without special tokens, "decoded_raw" keeps them.
"""

import argparse
import json
import pathlib

from tokenizers import Tokenizer

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "text" / "tokenizer_json"
TEXTS = [
    "",
    " ",
    "a dog",
    " Two  dogs\tand\n a cat ",
    "it's 12,345.60 $ (ok)!?",
    "é e\u0301 A\u030a\u0302 \u0130I\u0131 ß ﬁ ½",
    "中文 x日本",
    "a\u00a0b\u3000c\u200bd\u0085e\x0bf",
    "_under_score-dash\u2014 \u2018q\u2019",
    "x🐕🏽\u200d🦺y",
    "<b>bold</b> <sep> mid<sep>dle <c>",
    "\u0660\u0967 \u2167 \u00b2",
    "\u03a3\u03a3 \u03c2",
    "  lead<b> ",
    "aaa  aaaa",
    "\r\n\ra",
    "\u1e9b\u0323 \ufdfa",
    "\U0001d7d8",
    "a\u0000b\ufffdc\u0007",
]
ADDED = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def added(content, token_id, **flags):
    return {"id": token_id, "content": content} | ADDED | flags


def tokenizer(model, **parts):
    result = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
    }
    return result | parts | {"model": model}


def bpe(vocabulary, merges=(), **options):
    result = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
    }
    return result | options | {"vocab": {token: i for i, token in enumerate(dict.fromkeys(vocabulary))}, "merges": list(merges)}


def words_shown(parts):
    """A tokenizer of single characters whose ids show what the normaliser and the pre-tokenizer made of a text."""
    probe = Tokenizer.from_str(json.dumps(tokenizer(bpe(["?"]), **parts)))
    characters = set()
    for text in TEXTS:
        text = probe.normalizer.normalize_str(text) if probe.normalizer else text
        words = [word for word, _ in probe.pre_tokenizer.pre_tokenize_str(text)] if probe.pre_tokenizer else [text]
        characters.update(character for word in words for character in word)
    vocabulary = ["?"] + sorted(characters) + [character + "</w>" for character in sorted(characters)]
    return tokenizer(bpe(vocabulary, unk_token="?", end_of_word_suffix="</w>"), **parts)


NORMALIZERS = (
    [{"type": name} for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents")]
    + [
        {"type": "Strip", "strip_left": True, "strip_right": False},
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
        {"type": "Replace", "pattern": {"Regex": r"^\s*"}, "content": "<"},
        {"type": "Replace", "pattern": {"Regex": r"[\s\d]|$"}, "content": ""},
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}]},
    ]
    + [
        {
            "type": "BertNormalizer",
            "clean_text": clean,
            "handle_chinese_chars": cjk,
            "strip_accents": strip,
            "lowercase": lower,
        }
        for clean, cjk, strip, lower in (
            (True, True, None, True),
            (False, True, False, True),
            (True, False, True, False),
            (False, False, None, False),
        )
    ]
)
GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
PRE_TOKENIZERS = (
    [{"type": name} for name in ("WhitespaceSplit", "Whitespace", "BertPreTokenizer")]
    + [
        {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": True, "use_regex": regex}
        for space, regex in ((False, True), (True, True), (True, False))
    ]
    + [
        {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split}
        for scheme, split in (("always", True), ("first", True), ("never", True), ("always", False))
    ]
    + [{"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True, "str_rep": "\u2581"}]
    + [{"type": "Punctuation", "behavior": behavior} for behavior in BEHAVIORS]
    + [{"type": "Split", "pattern": {"String": "a"}, "behavior": behavior, "invert": False} for behavior in BEHAVIORS]
    + [
        {"type": "Split", "pattern": {"Regex": r"\w+"}, "behavior": "Removed", "invert": True},
        {"type": "Split", "pattern": {"Regex": r"\S*"}, "behavior": "Isolated", "invert": False},
        {"type": "Split", "pattern": {"Regex": GPT4}, "behavior": "Isolated", "invert": False},
        {"type": "Digits", "individual_digits": True},
        {"type": "Digits", "individual_digits": False},
        {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True},
            ],
        },
        {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            ],
        },
    ]
)


def decoder_cases():
    tokens = [
        "[A]",
        "\u2581a",
        "\u2581\u2581b",
        "##c",
        "d</w>",
        "e",
        "\u0120f",
        "\u00c3",
        "\u00a9",
        "<0xE4>",
        "<0xB8>",
        "<0xAD>",
        "<0x41>",
        " .",
        "n't",
        "aa",
        "\u4e2d",
        "<0xZZ>",
        " 's",
    ]
    rows = [
        [1, 2, 3, 4, 5],
        [3, 4, 4],
        [6, 7, 8, 7],
        [9, 10, 11, 12],
        [9, 10, 5, 12, 9],
        [5, 13, 14, 18, 0, 15],
        [15, 15, 16, 17],
        [2],
        [],
        [0],
    ]
    decoders = [
        None,
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        {"type": "WordPiece", "prefix": "##", "cleanup": True},
        {"type": "WordPiece", "prefix": "##", "cleanup": False},
        {"type": "BPEDecoder", "suffix": "</w>"},
        {"type": "Fuse"},
        {"type": "ByteFallback"},
        {"type": "Strip", "content": "a", "start": 1, "stop": 0},
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "Replace", "pattern": {"Regex": "[ab]+"}, "content": "<>"},
        {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
    ]
    decoders += [
        {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": True}
        for scheme in ("always", "first", "never")
    ]
    for decoder in decoders:
        name = "decoder " + json.dumps(decoder)
        yield name, tokenizer(bpe(tokens), decoder=decoder, added_tokens=[added("[A]", 0)]), rows


def model_cases():
    letters = list("abcdo ")
    merges = ["a b", "b c", "ab c", "c d"]
    whole = ["ab", "bc", "abc", "cd"]
    yield "merges as strings", tokenizer(bpe(letters + whole, merges))
    yield "merges as pairs", tokenizer(bpe(letters + whole, [merge.split() for merge in merges]))
    yield "ignore_merges", tokenizer(bpe(letters + whole + ["abcd"], merges, ignore_merges=True))
    for fuse in (False, True):
        yield f"unk_token, fuse_unk {fuse}", tokenizer(
            bpe(letters + whole + ["<unk>"], merges, unk_token="<unk>", fuse_unk=fuse)
        )
    every_byte = [f"<0x{byte:02X}>" for byte in range(256)]
    yield "byte_fallback", tokenizer(bpe(letters + every_byte + ["<unk>"], unk_token="<unk>", byte_fallback=True))
    yield "byte_fallback of some", tokenizer(
        bpe(letters + every_byte[:200] + ["<unk>"], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    yield "marks", tokenizer(
        bpe(
            ["?", "a", "b", "##a", "##b", "##b</w>", "##a</w>", "a</w>", "b</w>", "aa</w>", "##ab", "ab"],
            ["a ##a</w>", "##a ##b", "a ##b"],
            unk_token="?",
            continuing_subword_prefix="##",
            end_of_word_suffix="</w>",
        ),
        pre_tokenizer={"type": "WhitespaceSplit"},
    )
    pieces = [
        ["<unk>", 0.0],
        ["a", -1.5],
        ["b", -2.0],
        ["ab", -3.5],
        ["aa", -2.5],
        [" ", -1.0],
        ["dog", -2.0],
        ["d", -5.0],
        ["og", -3.0],
        ["中", -4.0],
        ["aaa", -3.9],
    ]
    yield "unigram", tokenizer({"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": False})
    in_bytes = [[token, -9.0] for token in every_byte]
    yield "unigram, byte_fallback", tokenizer(
        {"type": "Unigram", "unk_id": 0, "vocab": pieces + in_bytes, "byte_fallback": True}
    )
    yield "unigram, byte_fallback of some", tokenizer(
        {"type": "Unigram", "unk_id": 0, "vocab": pieces + in_bytes[:200], "byte_fallback": True}
    )
    words = {"[UNK]": 0, "a": 1, "dog": 2, "##s": 3, "do": 4, "##g": 5, "two": 6, "##aa": 7, "中": 8, "cat": 9}
    for longest in (100, 3):
        yield f"word pieces of {longest}", tokenizer(
            {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": longest,
                "vocab": words,
            },
            normalizer={"type": "Lowercase"},
            pre_tokenizer={"type": "BertPreTokenizer"},
        )
    yield "words", tokenizer(
        {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}, pre_tokenizer={"type": "Whitespace"}
    )
    untyped = tokenizer(
        {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": words},
        pre_tokenizer={"type": "WhitespaceSplit"},
    )
    yield "model without a type", untyped


def around_cases():
    """Added tokens and post-processors, around characters."""
    characters = sorted(set("".join(TEXTS).lower() + "".join(TEXTS)) | set("<b>/sepc"))
    model = bpe(["?"] + characters, unk_token="?")
    first = len(model["vocab"])
    flags = [
        ("plain", {}),
        ("lstrip", {"lstrip": True}),
        ("rstrip", {"rstrip": True}),
        ("single_word", {"single_word": True}),
        ("all", {"lstrip": True, "rstrip": True, "single_word": True, "special": False}),
    ]
    for name, chosen in flags:
        tokens = [
            added("<b>", first, **chosen),
            added("<sep>", first + 1, **chosen),
            added("dog", first + 2, **chosen),
            added("<b>bo", first + 3),
        ]
        yield f"added tokens, {name}", tokenizer(model, added_tokens=tokens)
    tokens = [
        added("DOG", first, normalized=True),
        added("Two", first + 1),
        added("a", 7, normalized=True, special=False),
    ]
    yield "added tokens, normalized", tokenizer(
        model, added_tokens=tokens, normalizer={"type": "Lowercase"}, pre_tokenizer={"type": "WhitespaceSplit"}
    )
    tokens = [added("<b>", first)]
    special = {"id": "<b>", "ids": [first], "tokens": ["<b>"]}
    single = [
        {"SpecialToken": {"id": "<b>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "x", "type_id": 0}},
    ]
    template = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<b>": special, "x": {"id": "x", "ids": [3, 4], "tokens": ["x", "y"]}},
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    for processor in (
        template,
        {"type": "Sequence", "processors": [byte_level, template]},
        byte_level,
        {"type": "BertProcessing", "sep": ["y", 4], "cls": ["<b>", first]},
        {
            "type": "RobertaProcessing",
            "sep": ["y", 4],
            "cls": ["<b>", first],
            "trim_offsets": True,
            "add_prefix_space": False,
        },
    ):
        yield "post-processor " + processor["type"], tokenizer(model, added_tokens=tokens, post_processor=processor)


def cases():
    for normalizer in NORMALIZERS:
        yield "normalizer " + json.dumps(normalizer), words_shown({"normalizer": normalizer}), None
    for splitter in PRE_TOKENIZERS:
        yield "pre-tokenizer " + json.dumps(splitter), words_shown({"pre_tokenizer": splitter}), None
    yield from decoder_cases()
    for name, made in (*model_cases(), *around_cases()):
        yield name, made, None


def line_of(reference, text):
    ids = reference.encode(text).ids
    return {
        "text": text,
        "ids": ids,
        "plain_ids": reference.encode(text, add_special_tokens=False).ids,
        "decoded": reference.decode(ids),
        "decoded_raw": reference.decode(ids, skip_special_tokens=False),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=pathlib.Path, required=True)
    models = parser.parse_args().reference / "huggingface"
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name in ("opt", "t5"):
        made = json.loads((models / f"{name}_tiny" / "model" / "tokenizer.json").read_text())
        (OUTPUT / f"{name}.json").write_text(json.dumps(made, ensure_ascii=False, separators=(",", ":")) + "\n")
    with (OUTPUT / "components.jsonl").open("w") as output:
        for name, made, rows in cases():
            reference = Tokenizer.from_str(json.dumps(made))
            if rows is None:
                lines = [line_of(reference, text) for text in TEXTS]
                if name == "added tokens, normalized":  # 0.23 decodes these as normalised and no longer as special
                    lines = [{key: line[key] for key in ("text", "ids", "plain_ids")} for line in lines]
            else:
                lines = [
                    {
                        "decoded_ids": row,
                        "decoded": reference.decode(row),
                        "decoded_raw": reference.decode(row, skip_special_tokens=False),
                    }
                    for row in rows
                ]
            output.write(
                json.dumps({"name": name, "tokenizer": made, "lines": lines}, ensure_ascii=False, separators=(",", ":"))
                + "\n"
            )


if __name__ == "__main__":
    main()
