#include "text/tokenizer_json/piece_trie.h"

#include <algorithm>

namespace blip2 {

PieceTrie::PieceTrie(const std::map<std::string, std::int64_t>& ids) {
  std::vector<std::pair<std::string_view, std::int32_t>> pieces;  // sorted, so that what begins alike lies together
  for (const auto& [piece, id] : ids) {
    if (!piece.empty()) pieces.emplace_back(piece, static_cast<std::int32_t>(id));
  }
  struct Range {
    std::uint32_t node;
    std::size_t begin, end, depth;
  };
  std::vector<Range> open;
  // Makes nodes for the different bytes at this depth; their pieces are looked at later.
  auto add_children = [&](std::size_t begin, std::size_t end, std::size_t depth) {
    while (begin < end) {
      const char byte = pieces[begin].first[depth];
      std::size_t same = begin;
      while (same < end && pieces[same].first[depth] == byte) ++same;
      Node node;
      node.byte = static_cast<unsigned char>(byte);
      open.push_back({static_cast<std::uint32_t>(nodes_.size()), begin, same, depth + 1});
      nodes_.push_back(node);
      begin = same;
    }
  };
  add_children(0, pieces.size(), 0);
  roots_.fill(kNone);
  for (std::uint32_t i = 0; i < nodes_.size(); ++i) roots_[nodes_[i].byte] = i;
  while (!open.empty()) {
    Range range = open.back();
    open.pop_back();
    if (pieces[range.begin].first.size() == range.depth) nodes_[range.node].id = pieces[range.begin++].second;
    const auto first = static_cast<std::uint32_t>(nodes_.size());
    add_children(range.begin, range.end, range.depth);
    nodes_[range.node].first_child = first;
    nodes_[range.node].children = static_cast<std::uint16_t>(nodes_.size() - first);
  }
}

std::uint32_t PieceTrie::child(std::uint32_t node, unsigned char byte) const {
  const auto begin = nodes_.begin() + nodes_[node].first_child, end = begin + nodes_[node].children;
  const auto found =
      std::lower_bound(begin, end, byte, [](const Node& child, unsigned char value) { return child.byte < value; });
  return found == end || found->byte != byte ? kNone : static_cast<std::uint32_t>(found - nodes_.begin());
}

}  // namespace blip2
