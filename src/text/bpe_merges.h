// The merges of a byte-pair encoding over token ids: of all neighbours that have a merge the pair of the lowest rank is
// joined, equal ranks from the left, until none is left (Hugging Face 6.2).
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace blip2 {

class BpeMerges {
 public:
  /** The next rank; a pair that is given again takes its later rank. Ids must lie between 0 and 2^32 - 1. */
  void add(std::int64_t left, std::int64_t right, std::int64_t merged);

  /** Joins the symbols of one word; n log n, also for a word of 100,000 symbols. */
  void apply(std::vector<std::int64_t>& symbols) const;

 private:
  struct Merge {
    std::size_t rank;
    std::int64_t id;
  };
  const Merge* find(std::int64_t left, std::int64_t right) const;

  std::unordered_map<std::uint64_t, Merge> merges_;  // by both ids
  std::size_t next_rank_ = 0;
};

}  // namespace blip2
