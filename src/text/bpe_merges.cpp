#include "text/bpe_merges.h"

#include <functional>
#include <limits>
#include <queue>
#include <tuple>

namespace blip2 {
namespace {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

std::uint64_t pair_key(std::int64_t left, std::int64_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
}

/** One symbol of a word, linked to its neighbours; id -1 was merged away. */
struct Symbol {
  std::int64_t id;
  std::size_t previous, next;
};

/** A pair that may be merged: the lowest rank first, then the leftmost. */
struct Candidate {
  std::size_t rank, position;
  std::int64_t left, right, merged;
  bool operator>(const Candidate& other) const {
    return std::tie(rank, position) > std::tie(other.rank, other.position);
  }
};

}  // namespace

void BpeMerges::add(std::int64_t left, std::int64_t right, std::int64_t merged) {
  merges_.insert_or_assign(pair_key(left, right), Merge{next_rank_++, merged});
}

const BpeMerges::Merge* BpeMerges::find(std::int64_t left, std::int64_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void BpeMerges::apply(std::vector<std::int64_t>& ids) const {
  // A linked list of symbols and a heap of mergeable pairs.
  std::vector<Symbol> symbols;
  symbols.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    symbols.push_back({ids[i], i == 0 ? kNone : i - 1, i + 1 == ids.size() ? kNone : i + 1});
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  auto offer = [&](std::size_t position) {
    if (position == kNone || symbols[position].next == kNone) return;
    const std::int64_t left = symbols[position].id, right = symbols[symbols[position].next].id;
    if (const Merge* merge = find(left, right)) queue.push({merge->rank, position, left, right, merge->id});
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.position];
    if (left.id != best.left || left.next == kNone) continue;  // merged meanwhile
    Symbol& right = symbols[left.next];
    if (right.id != best.right) continue;
    left.id = best.merged;
    left.next = right.next;
    right.id = -1;
    if (left.next != kNone) symbols[left.next].previous = best.position;
    offer(left.previous);
    offer(best.position);
  }
  ids.clear();
  for (std::size_t i = symbols.empty() ? kNone : 0; i != kNone; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace blip2
