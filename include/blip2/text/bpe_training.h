// Learning a byte-level BPE from text, for a language model that is trained from scratch. The same texts give the same
// files, byte for byte, on every machine.
#pragma once

#include <memory>

#include "blip2/text/byte_bpe.h"

namespace blip2 {

/**
 * OPT's layout: <s> 0, <pad> 1, </s> 2, <unk> 3, the 256 bytes in the order of their characters, then merges of the
 * most frequent pair within GPT-2's words until `size` tokens are reached or no pair occurs twice. Equal counts: the
 * lower left id, then the lower right id. Throws UserError when `size` is below 260 or above 16,777,216.
 */
ByteBpeVocabulary train_byte_bpe(const std::vector<std::string>& texts, std::int64_t size);

/** A tokenizer over such a vocabulary, as OPT has it: </s> in front of every text. */
std::unique_ptr<Tokenizer> make_byte_bpe(ByteBpeVocabulary vocabulary);

}  // namespace blip2
