#include "text/tokenizer_json/unigram_model.h"

#include <algorithm>
#include <cmath>

#include "blip2/core/error.h"
#include "core/in_quotes.h"
#include "text/token_ids.h"
#include "text/unicode.h"

namespace blip2 {
namespace {

constexpr double kUnknownPenalty = 10;
constexpr std::size_t kNone = static_cast<std::size_t>(-1);

}  // namespace

UnigramModel::UnigramModel(const JsonPlace& place) : file_(place.file()) {
  const JsonPlace vocabulary = place.at("vocab", "a list of pieces and scores");
  read_pieces(vocabulary);
  if (place.has("unk_id")) unknown_id_ = place.number("unk_id", 0, static_cast<std::int64_t>(scores_.size()) - 1);
  byte_fallback_ = place.flag("byte_fallback", false);
  unknown_score_ = *std::min_element(scores_.begin(), scores_.end()) - kUnknownPenalty;
  trie_ = PieceTrie(ids_);
}

void UnigramModel::read_pieces(const JsonPlace& vocabulary) {
  const auto& list = vocabulary.value();
  if (!list.is_array() || list.empty() || list.size() > static_cast<std::size_t>(kMaxTokenIds)) {
    vocabulary.refuse("a list of 1 to " + std::to_string(kMaxTokenIds) + " pieces and scores");
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto& piece = list[i];
    if (!piece.is_array() || piece.size() != 2 || !piece[0].is_string() || !piece[1].is_number() ||
        !std::isfinite(piece[1].get<double>())) {
      vocabulary.item(i).refuse("a piece and its score, as [\"a\", -3.5]");
    }
    const auto& text = piece[0].get_ref<const std::string&>();
    const auto [earlier, is_new] = ids_.emplace(text, static_cast<std::int64_t>(i));
    if (!is_new) {
      vocabulary.item(i).complain("repeats the piece " + in_quotes(text) + " of the id " +
                                  std::to_string(earlier->second));
    }
    scores_.push_back(piece[1].get<double>());
  }
}

std::vector<UnigramModel::Node> UnigramModel::best_cuts(const std::string& word) const {
  std::vector<Node> nodes(word.size() + 1);
  auto relax = [&](std::size_t start, std::size_t end, double score, std::int64_t id) {
    if (nodes[end].start == kNone || score > nodes[end].score) nodes[end] = {score, start, id};
  };
  for (std::size_t start = 0; start < word.size();) {
    std::size_t next = start;
    U8_FWD_1(word.data(), next, word.size());
    const double score = nodes[start].score;
    bool has_character = false;
    trie_.find_prefixes(std::string_view(word).substr(start), [&](std::size_t length, std::int64_t id) {
      relax(start, start + length, score + scores_[static_cast<std::size_t>(id)], id);
      has_character = has_character || start + length == next;
    });
    if (!has_character) {
      if (!unknown_id_) refuse_unknown(word.substr(start, next - start));
      relax(start, next, score + unknown_score_, *unknown_id_);
    }
    start = next;
  }
  return nodes;
}

void UnigramModel::refuse_unknown(const std::string& text) const {
  throw UserError("'" + file_ + "': no piece holds the character " + in_quotes(text) +
                  " of a text, and the model has no unk_id");
}

void UnigramModel::append_unknown(const std::string& text, std::vector<std::int64_t>& ids) const {
  const auto whole = ids_.find(text);
  if (whole != ids_.end()) {
    ids.push_back(whole->second);
    return;
  }
  std::vector<std::int64_t> bytes;
  for (const char byte : text) {
    const auto id = byte_fallback_ ? ids_.find(byte_fallback_token(static_cast<unsigned char>(byte))) : ids_.end();
    if (id == ids_.end()) {
      ids.push_back(*unknown_id_);
      return;
    }
    bytes.push_back(id->second);
  }
  ids.insert(ids.end(), bytes.begin(), bytes.end());
}

void UnigramModel::append_ids(const std::string& word, std::vector<std::int64_t>& ids) const {
  const std::vector<Node> nodes = best_cuts(word);
  std::vector<std::size_t> ends;  // of the pieces, the last first
  for (std::size_t end = word.size(); end > 0; end = nodes[end].start) ends.push_back(end);
  std::size_t unknown_start = kNone;
  auto finish_unknown = [&](std::size_t end) {
    if (unknown_start != kNone) append_unknown(word.substr(unknown_start, end - unknown_start), ids);
    unknown_start = kNone;
  };
  for (auto end = ends.rbegin(); end != ends.rend(); ++end) {
    const Node& node = nodes[*end];
    if (unknown_id_ && node.id == *unknown_id_) {
      if (unknown_start == kNone) unknown_start = node.start;
      continue;
    }
    finish_unknown(node.start);
    ids.push_back(node.id);
  }
  finish_unknown(word.size());
}

}  // namespace blip2
