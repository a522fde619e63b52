#!/usr/bin/env python3
"""Times captioning with blip2 beside Hugging Face's transformers, on the same folder, machine and threads.

usage: benchmark_caption.py --bench build/bin/caption_benchmark [--language opt-1.3b] [--work FOLDER] [--rounds 2]
                            [--beams 1 5] [--batch 1] [--peer-dtype float32]

Needs Python with torch, transformers and safetensors; caption_benchmark is built with -DBLIP2_BUILD_BENCHMARKS=ON. Makes a
folder of random weights in the published shapes (ViT-g and the language model) below --work once, then runs the two
programs in turn, so that both see the same state of the machine, and prints one table row for each setting: seconds
for 20 tokens and the ratio of the medians.
"""
import argparse
import concurrent.futures
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

SIZES = {"opt-125m": (768, 3072, 12, 12), "opt-1.3b": (2048, 8192, 32, 24), "opt-2.7b": (2560, 10240, 32, 32)}
VOCABULARY, IMAGE_TOKEN, END = 50304, 50265, 50118
TOKENS = 20


def make_folder(folder, language, dtype):
    """A Blip2ForConditionalGeneration of random weights; speed and memory are a real model's, the text is noise."""
    import torch
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2QFormerConfig, Blip2VisionConfig, OPTConfig
    hidden, inner, heads, layers = SIZES[language]
    text = OPTConfig(hidden_size=hidden, ffn_dim=inner, num_attention_heads=heads, num_hidden_layers=layers,
                     word_embed_proj_dim=hidden, vocab_size=VOCABULARY, eos_token_id=END)
    config = Blip2Config(vision_config=Blip2VisionConfig().to_dict(), qformer_config=Blip2QFormerConfig().to_dict(),
                         text_config=text.to_dict(), image_token_index=IMAGE_TOKEN)
    torch.manual_seed(0)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    model = Blip2ForConditionalGeneration(config)
    torch.set_default_dtype(previous)
    model.to(getattr(torch, dtype)).save_pretrained(folder)


def add_tokenizer(folder):
    """Every id needs a text, whichever: the benchmark reads none."""
    texts = {i: chr(0x4E00 + i % 20000) + str(i // 20000) for i in range(VOCABULARY)}
    texts.update({0: "<s>", 1: "<pad>", 2: "</s>", 3: "<unk>", IMAGE_TOKEN: "<image>"})
    # A byte-level vocabulary has a character for every byte: itself where it is printable, else one from U+0100 on.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    characters = printable + list(range(0x100, 0x100 + 256 - len(printable)))
    texts.update({4 + i: chr(character) for i, character in enumerate(characters)})
    vocabulary = {text: i for i, text in texts.items()}
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as file:
        json.dump(vocabulary, file, ensure_ascii=False)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as file:
        file.write("#version: 0.2\n")
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump({"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "</s>"}, file)


def make_picture(file):
    """A photograph's size and about its entropy."""
    import numpy
    from PIL import Image
    noise = numpy.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=numpy.uint8)
    Image.fromarray(noise).resize((640, 480), Image.BICUBIC).save(file, quality=90)


def peer(arguments):
    """Runs in a process of its own: transformers, by part."""
    import resource
    import torch
    from transformers import Blip2ForConditionalGeneration
    torch.set_num_threads(arguments.threads)
    start = time.time()
    model = Blip2ForConditionalGeneration.from_pretrained(arguments.peer, dtype=getattr(torch, arguments.peer_dtype))
    model.eval()
    result = {"load_s": time.time() - start, "runs": []}
    torch.manual_seed(0)
    size = model.config.vision_config.image_size
    batch = arguments.batch[0]
    pixels = torch.randn(batch, 3, size, size).to(getattr(torch, arguments.peer_dtype))
    with torch.inference_mode():
        for _ in range(arguments.repeat):
            start = time.time()
            model.vision_model(pixels)
            vision = time.time() - start
            start = time.time()
            model.generate(pixel_values=pixels, num_beams=arguments.beams[0], max_new_tokens=TOKENS,
                           min_new_tokens=TOKENS, do_sample=False)
            result["runs"].append({"vision_s": vision, "total_s": time.time() - start})
    result["peak_rss_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps(result))


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"benchmark: {' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def median(results, key):
    return statistics.median(run[key] for result in results for run in result["runs"])


def compare(arguments, folder, beams, batch):
    common = ["--beams", str(beams), "--batch", str(batch), "--threads", str(arguments.threads),
              "--repeat", str(arguments.repeat)]
    commands = {"transformers": [sys.executable, os.path.abspath(__file__), "--peer", folder, "--peer-dtype",
                                 arguments.peer_dtype] + common}
    for weights in arguments.weights:
        commands[weights] = [arguments.bench, "--model", folder, "--weights", weights, "--new", str(TOKENS),
                             "--picture", os.path.join(arguments.work, "picture.jpg")] + common
    results = {name: [] for name in commands}
    for _ in range(arguments.rounds):
        for name, command in commands.items():
            results[name].append(run(command))
    theirs = median(results["transformers"], "total_s")
    memory = results["transformers"][0]["peak_rss_gb"]
    print(f"| {beams} | {batch} | transformers {arguments.peer_dtype} | {theirs:.2f} | 1.00 | "
          f"| {median(results['transformers'], 'vision_s'):.2f} | | | | {memory:.1f} |", flush=True)
    for weights in arguments.weights:
        ours = results[weights]
        total, vision, token = (median(ours, key) for key in ("total_s", "vision_s", "token_s"))
        read = statistics.median(result["machine_read_gb_s"] for result in ours)
        gflops = statistics.median(result["machine_gflops"] for result in ours)
        print(f"| {beams} | {batch} | blip2 {weights} | {total:.2f} | {theirs / total:.2f} | "
              f"{median(ours, 'picture_s') * 1000:.0f} | "
              f"{vision:.2f} ({ours[0]['vision_gflop'] / vision:.0f} of {gflops:.0f} GFLOP/s) | "
              f"{median(ours, 'qformer_s'):.2f} | {median(ours, 'prompt_s'):.2f} | "
              f"{token * 1000:.0f} ({ours[0]['token_bytes_gb'] / token:.0f} of {read:.0f} GB/s) | "
              f"{ours[0]['peak_rss_gb']:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="build/bin/caption_benchmark")
    parser.add_argument("--language", choices=SIZES, default="opt-1.3b")
    parser.add_argument("--work", default="/tmp/blip2_benchmark")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--weights", nargs="+", default=["float32", "stored", "int8", "int8-fast", "int4"])
    parser.add_argument("--peer-dtype", default="float32")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        peer(arguments)
        return
    folder = os.path.join(arguments.work, f"{arguments.language}-bfloat16")
    if not os.path.exists(os.path.join(folder, "tokenizer_config.json")):
        # In a process of its own: what it held would count among the peak memory of every program started here.
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            other.submit(make_folder, folder, arguments.language, "bfloat16").result()
        add_tokenizer(folder)
    make_picture(os.path.join(arguments.work, "picture.jpg"))
    print("| beams | pictures | program | s | times as fast | picture ms | vision s | Q-Former s | prompt s | a token, ms | peak GB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for batch in arguments.batch:
        for beams in arguments.beams:
            compare(arguments, folder, beams, batch)


if __name__ == "__main__":
    main()
