// All pieces that a text begins with, by a trie over their bytes.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace blip2 {

class PieceTrie {
 public:
  PieceTrie() = default;
  explicit PieceTrie(const std::map<std::string, std::int64_t>& ids);

  /** Calls `found(length, id)` for every piece that the text begins with, the shortest first. */
  template <typename Found>
  void find_prefixes(std::string_view text, Found found) const {
    if (text.empty() || nodes_.empty()) return;
    std::uint32_t node = roots_[static_cast<unsigned char>(text[0])];
    for (std::size_t length = 1; node != kNone; ++length) {
      if (nodes_[node].id >= 0) found(length, nodes_[node].id);
      if (length == text.size()) return;
      node = child(node, static_cast<unsigned char>(text[length]));
    }
  }

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  /** The children of a node lie side by side, in order of their bytes. */
  struct Node {
    std::uint32_t first_child = 0;
    std::uint16_t children = 0;
    unsigned char byte = 0;
    std::int32_t id = -1;
  };
  std::uint32_t child(std::uint32_t node, unsigned char byte) const;

  std::vector<Node> nodes_;
  std::array<std::uint32_t, 256> roots_{};
};

}  // namespace blip2
