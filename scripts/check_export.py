#!/usr/bin/env python3
"""Asks Python whether model folders of ours are what it expects: they open with `from_pretrained` without a warning, and
compute what our programs compute. Needs torch, transformers, safetensors and pillow.

    scripts/check_export.py --programs build/bin --picture FILE FOLDER...

For each picture: logits (or matching and contrast) from the processor's own tensors, against `trace`; the caption's
tokens with and without a prompt (or the texts' scores), against `caption` and `match`. Two warnings are let through,
which published folders get too: that of transformers 5 for every T5 whose head is not its embedding, and that of
transformers 4 about Pillow's image processor.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

TEXTS = ["a red square", "Two blue bars, isn't it?", "a Café\tin  Zürich <3 \N{CAT}"]
PROMPTS = ["", "a photo of", "Question: what is this? Answer:"]
UNTIED_T5 = "The tied weights mapping and config for this model specifies to tie language_model.shared.weight"
SLOW_PROCESSOR = "Using a slow image processor as `use_fast` is unset"
TOLERANCE = 1e-4


class Messages(logging.Handler):
    """Everything that is said at the level of a warning or above."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def fail(sentence):
    sys.exit(f"check_export: {sentence}")


def check(condition, sentence):
    if not condition:
        fail(sentence)


def open_folder(folder):
    """Model and processor; ends with what Python had to say where it said something."""
    messages = Messages()
    transformers.utils.logging.get_logger().addHandler(messages)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = transformers.AutoConfig.from_pretrained(folder)
        name = config.architectures[0]
        model, report = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
        # Pillow resizes as we do, torchvision is a level off here and there.
        processor = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
        transformers.AutoTokenizer.from_pretrained(folder)
    transformers.utils.logging.get_logger().removeHandler(messages)
    said = messages.messages + [str(warning.message) for warning in caught]
    untied = config.get_text_config().model_type == "t5"
    said = [text for text in said if not (untied and text.startswith(UNTIED_T5) or text.startswith(SLOW_PROCESSOR))]
    check(not said, f"'{folder}': Python warns: {said}")
    wrong = {key: sorted(value) for key, value in report.items() if value}
    check(not wrong, f"'{folder}': the weights do not fit {name}: {wrong}")
    check(type(processor).__name__ == "Blip2Processor", f"'{folder}': opens as {type(processor).__name__}")
    return model.eval().float(), processor


def fitting(tokenizer, text, length):
    """The text without the words at its end for which a small model has no positions."""
    while len(tokenizer(text)["input_ids"]) > length:
        text = text.rpartition(" ")[0]
    return text


def run(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    check(done.returncode == 0, f"{program} failed: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def trace(programs, folder, tensors):
    """What our `trace` computes of these tensors."""
    with tempfile.TemporaryDirectory() as scratch:
        inputs, output = os.path.join(scratch, "inputs"), os.path.join(scratch, "output")
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, inputs)
        run(f"{programs}/trace", "--model", folder, "--inputs", inputs, "--output", output)
        return load_file(output)


def check_close(actual, expected, what, least=1e-6):
    """Relative to the largest expected value, which counts as `least` where it is smaller."""
    difference = ((actual - expected).abs().max() / expected.abs().max().clamp_min(least)).item()
    check(difference < TOLERANCE, f"{what} differ by {difference:.2g} of their largest value")
    return difference


def check_batch(model, processor, image, prompts):
    """Prompts of different lengths say in one batch what they say alone: the padding is on the right side."""
    batch = processor(images=[image] * len(prompts), text=prompts, padding=True, return_tensors="pt")
    start = batch["input_ids"].shape[1] if model.config.use_decoder_only_language_model else 1
    together = model.generate(**batch, max_new_tokens=3)[:, start:]
    for row, prompt in zip(together, prompts):
        inputs = processor(images=image, text=prompt, return_tensors="pt")
        start = inputs["input_ids"].shape[1] if model.config.use_decoder_only_language_model else 1
        alone = model.generate(**inputs, max_new_tokens=3)[0, start:]
        check(torch.equal(row[: len(alone)], alone), f"'{prompt}' says something else in a batch")


def check_generative(programs, folder, model, processor, picture, image):
    """Logits and captions with each prompt; the largest difference of logits."""
    worst = 0.0
    decoder_only = model.config.use_decoder_only_language_model
    positions = getattr(model.config.text_config, "max_position_embeddings", 512) - model.config.num_query_tokens
    longest = min(30, positions // 2)
    search = {"num_beams": 5, "max_new_tokens": longest}
    for prompt in [fitting(processor.tokenizer, prompt, positions - longest) for prompt in PROMPTS]:
        inputs = processor(images=image, text=prompt, return_tensors="pt")
        tensors = dict(inputs)
        if not decoder_only:
            tensors["labels"] = torch.tensor([[5, 7, 1]])
        expected = model(**tensors).logits
        worst = max(worst, check_close(trace(programs, folder, tensors)["logits"], expected, f"logits of '{prompt}'"))

        rows = model.generate(**inputs, **search)
        tokens = rows[0, inputs["input_ids"].shape[1] if decoder_only else 1 :].tolist()
        text = processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        options = ["--max-new-tokens", str(longest), "--json"]
        ours = run(f"{programs}/caption", "--model", folder, "--prompt", prompt, *options, picture)[0]
        check(ours["token_ids"] == tokens, f"'{prompt}': Python says {tokens}, caption says {ours['token_ids']}")
        check(ours["caption"].strip() == text, f"'{prompt}': Python says '{text}', caption says '{ours['caption']}'")
    check_batch(model, processor, image, [PROMPTS[0], prompt])
    # Without a text Python makes the placeholders itself.
    alone = model.generate(inputs["pixel_values"], **search)
    empty = processor(images=image, text="", return_tensors="pt")
    check(torch.equal(alone, model.generate(**empty, **search)), "a picture alone says something else than with ''")
    return worst


def check_retrieval(programs, folder, model, processor, picture, image):
    """Scores of each text; their largest difference."""
    worst = 0.0
    positions = model.config.qformer_config.max_position_embeddings
    for text in [fitting(processor.tokenizer, text, positions) for text in TEXTS]:
        inputs = processor(images=image, text=text, return_tensors="pt")
        matching = model(**inputs, use_image_text_matching_head=True).logits_per_image
        contrast = model(**inputs, use_image_text_matching_head=False).logits_per_image
        ours = run(f"{programs}/match", "--model", folder, "--json", "--text", text, picture)[0]
        probability = torch.tensor(ours["match_probability"]), matching.softmax(1)[0, 1]
        similarity = torch.tensor(ours["similarity"]), contrast[0, 0]
        worst = max(worst, check_close(*probability, f"matches of '{text}'"))
        worst = max(worst, check_close(*similarity, f"similarities of '{text}'", least=0.01))  # a cosine
        if model.config.image_token_index is None:
            computed = trace(programs, folder, dict(inputs))
            worst = max(worst, check_close(computed["itm.logits_per_image"], matching, f"matching logits of '{text}'"))
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", default="build/bin", help="folder of our programs")
    parser.add_argument("--picture", action="append", required=True, help="a picture file; may be given several times")
    parser.add_argument("folders", nargs="+")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    for folder in arguments.folders:
        model, processor = open_folder(folder)
        name = type(model).__name__
        compare = check_retrieval if name == "Blip2ForImageTextRetrieval" else check_generative
        worst = 0.0
        with torch.no_grad():
            for picture in arguments.picture:
                image = Image.open(picture).convert("RGB")
                worst = max(worst, compare(arguments.programs, folder, model, processor, picture, image))
        print(f"{folder}: {name}, largest difference {worst:.2g} in {len(arguments.picture)} pictures", flush=True)


if __name__ == "__main__":
    main()
