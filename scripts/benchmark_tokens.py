#!/usr/bin/env python3
"""Times the token step of decoding with blip2 beside CTranslate2's int8, for an OPT of the same shape.

usage: benchmark_tokens.py --folder FOLDER [--bench build/bin/caption_benchmark] [--work FOLDER] [--rounds 2]
                           [--beams 1 5] [--weights int8 int4]

FOLDER is the model that benchmark_caption.py has made. Needs Python with torch, transformers and ctranslate2;
caption_benchmark is built with -DBLIP2_BUILD_BENCHMARKS=ON. CTranslate2 has no BLIP-2, so it gets an OPT with random weights
of the shape in FOLDER; a step is the difference of two lengths of answer, divided by the tokens between them. The two
programs run in turn; the table has medians.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

PROMPT, SHORT, LONG = 33, 5, 25


def make_peer(folder, target):
    """CTranslate2's form of an OPT of the folder's shape, in int8."""
    import ctranslate2
    import torch
    import transformers
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        text = json.load(file)["text_config"]
    text.pop("dtype", None)
    config = transformers.OPTConfig(**text)
    torch.manual_seed(0)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    model = transformers.OPTForCausalLM(config)
    torch.set_default_dtype(previous)
    source = target + "-source"
    model.save_pretrained(source)
    del model
    vocabulary = {f"t{i}": i for i in range(config.vocab_size)}
    for name, i in (("<s>", 0), ("<pad>", 1), ("</s>", 2), ("<unk>", 3)):
        vocabulary.pop(f"t{i}")
        vocabulary[name] = i
    with open(os.path.join(source, "vocab.json"), "w", encoding="utf-8") as file:
        json.dump(vocabulary, file)
    with open(os.path.join(source, "merges.txt"), "w", encoding="utf-8") as file:
        file.write("#version: 0.2\n")
    tokenizer = transformers.GPT2Tokenizer(os.path.join(source, "vocab.json"), os.path.join(source, "merges.txt"),
                                           bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>")
    tokenizer.save_pretrained(source)
    ctranslate2.converters.TransformersConverter(source, load_as_float16=False, low_cpu_mem_usage=True).convert(
        target, quantization="int8", force=True)


def peer(arguments):
    """Runs in a process of its own."""
    import ctranslate2
    generator = ctranslate2.Generator(arguments.peer, device="cpu", compute_type="int8",
                                      intra_threads=arguments.threads, inter_threads=1)
    prompt = [["</s>"] + [f"t{i}" for i in range(100, 100 + PROMPT - 1)]]

    def seconds(tokens):
        start = time.time()
        result = generator.generate_batch(prompt, beam_size=arguments.beams[0], max_length=tokens, min_length=tokens,
                                          include_prompt_in_result=False)
        assert len(result[0].sequences_ids[0]) == tokens
        return time.time() - start

    seconds(SHORT)
    runs = []
    for _ in range(arguments.repeat):
        short, long = seconds(SHORT), seconds(LONG)
        runs.append({"token_s": (long - short) / (LONG - SHORT)})
    print(json.dumps({"runs": runs}))


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"benchmark: {' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def median(results):
    return statistics.median(run["token_s"] for result in results for run in result["runs"])


def compare(arguments, target, beams):
    common = ["--beams", str(beams), "--threads", str(arguments.threads), "--repeat", str(arguments.repeat)]
    commands = {"CTranslate2 int8": [sys.executable, os.path.abspath(__file__), "--peer", target] + common}
    for weights in arguments.weights:
        commands[weights] = [arguments.bench, "--model", arguments.folder, "--weights", weights] + common
    results = {name: [] for name in commands}
    for _ in range(arguments.rounds):
        for name, command in commands.items():
            results[name].append(run(command))
    theirs = median(results["CTranslate2 int8"])
    print(f"| {beams} | CTranslate2 int8 | {theirs * 1000:.0f} | 1.00 | |", flush=True)
    for weights in arguments.weights:
        token, ours = median(results[weights]), results[weights]
        rate = ours[0]["token_bytes_gb"] / token
        limit = statistics.median(result["machine_read_gb_s"] for result in ours)
        print(f"| {beams} | blip2 {weights} | {token * 1000:.0f} | {theirs / token:.2f} | {rate:.1f} of {limit:.1f} |",
              flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder")
    parser.add_argument("--bench", default="build/bin/caption_benchmark")
    parser.add_argument("--work", default="/tmp/blip2_benchmark")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--weights", nargs="+", default=["int8", "int4"])
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        peer(arguments)
        return
    target = os.path.join(arguments.work, "ctranslate2-" + os.path.basename(os.path.normpath(arguments.folder)))
    if not os.path.exists(os.path.join(target, "model.bin")):
        make_peer(arguments.folder, target)
    print("| beams | program | ms a token | times as fast | GB/s of the machine's |")
    print("|---|---|---|---|---|")
    for beams in arguments.beams:
        compare(arguments, target, beams)


if __name__ == "__main__":
    main()
