// Byte-pair encoding as a tokenizer.json describes it (Hugging Face 6.1): a word's characters, each with the file's
// marks for a first, later or last one, are merged by rank. What the vocabulary lacks becomes its bytes where the file
// says byte_fallback, else the unknown token, else nothing.
#pragma once

#include <array>
#include <optional>
#include <unordered_map>

#include "text/bpe_merges.h"
#include "text/tokenizer_json/token_model.h"

namespace blip2 {

class BpeModel final : public TokenModel {
 public:
  /** Throws UserError for merges of unknown tokens and for dropout, which would make ids random. */
  BpeModel(const JsonPlace& place, const TokenIds& ids);

  void append_ids(const std::string& word, std::vector<std::int64_t>& ids) const override;

 private:
  void read_merges(const JsonPlace& merges);
  std::optional<std::int64_t> find(const std::string& token) const;
  std::optional<std::int64_t> find_character(std::string_view character, bool first, bool last) const;
  bool append_bytes(const std::string& token, std::vector<std::int64_t>& symbols) const;

  std::unordered_map<std::string, std::int64_t> ids_;
  std::array<std::int64_t, 0x800> short_ids_{};  // of characters of one or two bytes by code point, -1: none
  BpeMerges merges_;
  std::string continuing_prefix_, end_suffix_;
  std::optional<std::int64_t> unknown_id_;
  bool fuse_unknown_ = false, byte_fallback_ = false, ignore_merges_ = false;
};

}  // namespace blip2
