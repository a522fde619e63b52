// What a tokenizer.json needs of a spiece.model: pieces with their scores, and the table of its normalisation, which
// the sentencepiece library keeps to itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace blip2 {

struct UnigramFile {
  std::vector<std::pair<std::string, double>> pieces;  // by id
  std::int64_t unknown_id = 0;
  std::string charsmap;  // base64; empty: texts are not normalised
};

/** Throws UserError for a file that is no SentencePiece model or one of another kind than unigram. */
UnigramFile read_unigram_file(const std::filesystem::path& file);

}  // namespace blip2
