// The tokenizer of a model folder, told by the files that lie in it.
#pragma once

#include <filesystem>
#include <memory>

#include "blip2/text/tokenizer.h"

namespace blip2 {

/**
 * vocab.txt: WordPiece with [DEC] added. vocab.json and merges.txt: byte-level BPE, with `</s>` in front unless
 * tokenizer_config.json says otherwise. spiece.model: SentencePiece as T5 uses it. Added tokens come from
 * tokenizer_config.json and added_tokens.json. Throws UserError that names the folder and what was looked for.
 */
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

}  // namespace blip2
