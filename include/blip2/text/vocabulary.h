// A WordPiece vocabulary from text, for a Q-Former that is trained from scratch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace blip2 {

/**
 * Lines of a vocab.txt: [PAD] [UNK] [CLS] [SEP] [MASK], every character and its ## form, then whole lower-cased words,
 * the most frequent first and equal counts in order, at most `size` tokens. Throws UserError when `size` has no room
 * for the characters.
 */
std::vector<std::string> build_wordpiece_vocabulary(const std::vector<std::string>& texts, std::int64_t size);

/** Writes FOLDER/vocab.txt atomically, making the folder. Throws WorldError. */
void write_wordpiece_vocabulary(const std::vector<std::string>& vocabulary, const std::filesystem::path& folder);

}  // namespace blip2
