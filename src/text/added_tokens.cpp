#include "blip2/text/added_tokens.h"

#include <algorithm>

#include "blip2/core/error.h"

namespace blip2 {

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens) {
  for (const auto& token : tokens) {
    if (token.content.empty()) {
      throw UserError("an added token of a tokenizer must not be empty, found one with the id " +
                      std::to_string(token.id));
    }
    auto& same_start = by_first_byte_[static_cast<unsigned char>(token.content[0])];
    const auto known = std::any_of(same_start.begin(), same_start.end(),
                                   [&](std::size_t i) { return tokens_[i].content == token.content; });
    if (known) continue;
    const auto shorter = std::find_if(same_start.begin(), same_start.end(),
                                      [&](std::size_t i) { return tokens_[i].content.size() < token.content.size(); });
    same_start.insert(shorter, tokens_.size());
    tokens_.push_back(token);
    if (token.special) special_.insert(token.id);
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
  if (content.empty()) return nullptr;
  const AddedToken* found = match(content);
  return found != nullptr && found->content.size() == content.size() ? found : nullptr;
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
    if (at > start) pieces.push_back({text.substr(start, at - start), std::nullopt});
    pieces.push_back({found->content, found->id});
    start = at += found->content.size();
  }
  if (start < text.size()) pieces.push_back({text.substr(start), std::nullopt});
  return pieces;
}

}  // namespace blip2
