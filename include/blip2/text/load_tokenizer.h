// The tokenizer of a model folder, told by the files that lie in it: a Hugging Face folder, a converted LAVIS model or
// one of our own.
#pragma once

#include <filesystem>
#include <memory>

#include "blip2/text/tokenizer.h"

namespace blip2 {

/**
 * tokenizer.json, where it has a model: everything as that file says, with [DEC] added to a WordPiece without it. Else
 * vocab.txt: WordPiece with [DEC] added. vocab.json and merges.txt: byte-level BPE, with `</s>` in front where the
 * vocabulary has it and tokenizer_config.json says nothing else. spiece.model: SentencePiece as T5 uses it. Names,
 * flags and added tokens come from tokenizer.json, tokenizer_config.json, added_tokens.json and
 * special_tokens_map.json, each where present (Hugging Face 6.0). Throws UserError that names the folder and what was
 * looked for, or the file and the place in it that is not what it must be.
 */
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

}  // namespace blip2
