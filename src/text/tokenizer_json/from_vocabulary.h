// What a tokenizer.json says (Hugging Face 6.1) for the tokenizers that are read from vocabulary files. `added_tokens`
// holds what the files name; the caller adds ids that no part has yet.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "blip2/text/tokenizer.h"
#include "text/tokenizer_files.h"

namespace blip2 {

/** An entry of `added_tokens`. */
nlohmann::json added_token_json(const AddedToken& token);

/** Of a folder with vocab.txt. */
nlohmann::json wordpiece_json(const Tokenizer& tokenizer, const TokenizerFiles& files);

/** Of a folder with vocab.json and merges.txt. */
nlohmann::json byte_bpe_json(const Tokenizer& tokenizer, const TokenizerFiles& files,
                             const std::filesystem::path& folder);

/** Of a folder with spiece.model. Throws UserError unless that is a unigram model. */
nlohmann::json unigram_json(const Tokenizer& tokenizer, const TokenizerFiles& files,
                            const std::filesystem::path& folder);

}  // namespace blip2
