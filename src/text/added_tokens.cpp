#include "blip2/text/added_tokens.h"

#include <algorithm>

#include "blip2/core/error.h"
#include "text/unicode.h"

namespace blip2 {
namespace {

UChar32 code_point_behind(std::string_view text, std::size_t at) {
  UChar32 c;
  U8_NEXT_OR_FFFD(text.data(), at, text.size(), c);
  return c;
}

/** Start of the code point that ends at `end`. */
std::size_t code_point_before(std::string_view text, std::size_t end) {
  while (end > 0 && (static_cast<unsigned char>(text[--end]) & 0xC0) == 0x80) continue;
  return end;
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  return (begin == 0 || !is_word_character(code_point_behind(text, code_point_before(text, begin)))) &&
         (end == text.size() || !is_word_character(code_point_behind(text, end)));
}

std::size_t white_space_before(std::string_view text, std::size_t begin) {
  while (begin > 0) {
    const std::size_t previous = code_point_before(text, begin);
    if (!is_white_space(code_point_behind(text, previous))) break;
    begin = previous;
  }
  return begin;
}

std::size_t white_space_behind(std::string_view text, std::size_t end) {
  while (end < text.size()) {
    const UChar32 c = code_point_behind(text, end);
    if (!is_white_space(c)) break;
    end += static_cast<std::size_t>(U8_LENGTH(c));
  }
  return end;
}

}  // namespace

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens) {
  for (const auto& token : tokens) {
    if (token.content.empty()) {
      throw UserError("an added token of a tokenizer must not be empty, found one with the id " +
                      std::to_string(token.id));
    }
    if (!by_content_.emplace(token.content, tokens_.size()).second) continue;
    by_first_byte_[static_cast<unsigned char>(token.content[0])].push_back(tokens_.size());
    tokens_.push_back(token);
    if (token.special) special_.insert(token.id);
  }
  for (auto& same_start : by_first_byte_) {
    std::stable_sort(same_start.begin(), same_start.end(), [&](std::size_t a, std::size_t b) {
      return tokens_[a].content.size() > tokens_[b].content.size();
    });
  }
}

const AddedToken* AddedTokens::match(std::string_view text) const {
  for (const std::size_t i : by_first_byte_[static_cast<unsigned char>(text[0])]) {
    const std::string& content = tokens_[i].content;
    if (text.substr(0, content.size()) == content) return &tokens_[i];
  }
  return nullptr;
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto found = by_content_.find(std::string(content));
  return found == by_content_.end() ? nullptr : &tokens_[found->second];
}

std::vector<AddedTokens::Piece> AddedTokens::split(std::string_view text) const {
  std::vector<Piece> pieces;
  std::size_t start = 0;
  for (std::size_t at = 0; at < text.size();) {
    const AddedToken* found = match(text.substr(at));
    if (found == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at += found->content.size();
    if (found->single_word && !stands_alone(text, begin, end)) continue;
    if (found->lstrip) begin = std::max(start, white_space_before(text, begin));
    if (found->rstrip) end = white_space_behind(text, end);
    if (begin > start) pieces.push_back({text.substr(start, begin - start), std::nullopt});
    pieces.push_back({text.substr(begin, end - begin), found->id});
    start = end;
  }
  if (start < text.size()) pieces.push_back({text.substr(start), std::nullopt});
  return pieces;
}

}  // namespace blip2
