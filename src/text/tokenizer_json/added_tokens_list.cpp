#include "text/tokenizer_json/added_tokens_list.h"

#include <unordered_set>

#include "core/in_quotes.h"
#include "text/token_ids.h"

namespace blip2 {

std::vector<AddedToken> read_added_token_list(const JsonPlace& root) {
  std::vector<AddedToken> tokens;
  if (!root.has("added_tokens")) return tokens;
  std::unordered_set<std::string> known;
  for (const auto& place : root.items("added_tokens")) {
    AddedToken token;
    token.content = place.text("content");
    token.id = place.number("id", 0, kMaxTokenIds - 1);
    token.special = place.flag("special", false);
    token.normalized = place.flag("normalized", false);
    token.lstrip = place.flag("lstrip", false);
    token.rstrip = place.flag("rstrip", false);
    token.single_word = place.flag("single_word", false);
    if (token.content.empty()) place.complain("is empty, expected a token with a content");
    if (!known.insert(token.content).second) place.complain("repeats the token " + in_quotes(token.content));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace blip2
