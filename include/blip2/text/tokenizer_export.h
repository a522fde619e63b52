// A tokenizer as Python's AutoTokenizer opens it (Hugging Face 6.0 and 6.1): everything in one tokenizer.json, whatever
// files it was read from, so that no class of Python rebuilds it by rules of its own. Surprise: a language model
// without a spare row for the picture's placeholder lends it the row of a token that no text can reach.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "blip2/text/tokenizer.h"

namespace blip2 {

/** The placeholder of a picture in the text of a generative model. */
inline const std::string kImageToken = "<image>";

/**
 * The id for "<image>" in a language model whose token table has `rows` rows: the one that the tokenizer has, else the
 * first row behind its vocabulary, else that of "<unk>" in a byte-level BPE, which no text is ever encoded to. Throws
 * UserError where there is none.
 */
std::int64_t image_token_id(const Tokenizer& tokenizer, std::int64_t rows);

struct TokenizerExport {
  /** Where "<image>" is to be, from image_token_id(). None: such a token is not added. */
  std::optional<std::int64_t> image_token;
  /** Left where a decoder continues the text: published OPT folders say right, and their batches go on from padding. */
  PaddingSide padding_side = PaddingSide::kRight;
};

/**
 * Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json into an existing folder; load_tokenizer and
 * Python then give the ids of `tokenizer`. Throws UserError for a SentencePiece model that is not of the unigram kind,
 * WorldError when the disk refuses.
 */
void export_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& folder,
                      const TokenizerExport& options = {});

}  // namespace blip2
