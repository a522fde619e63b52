// How the kernels of cpu_kernels.h cut a product into tiles whose sums fit the registers.
#pragma once

#include "nn/cpu_kernels.h"

// Loops over a tile are unrolled whole, so that its sums live in registers.
#define BLIP2_UNROLL _Pragma("GCC unroll 16")

namespace blip2::BLIP2_KERNELS {
namespace {

/** Which integer weights are fetched from memory while others are multiplied. */
class Ahead {
 public:
  Ahead(const LinearTask& task, std::int64_t rows_at_once, std::int64_t block_bytes)
      : by_block_(task.rows > rows_at_once), block_bytes_(block_bytes) {}

  void fetch(const void* from) const {
    const char* address = static_cast<const char*>(from);
    if (by_block_) {
      __builtin_prefetch(address + block_bytes_, 0, 2);  // read several times: the next block meanwhile
    } else {
      __builtin_prefetch(address + 4096);  // read once: what comes next, into the nearest cache
    }
  }

 private:
  bool by_block_;
  std::int64_t block_bytes_;
};

/** Tile<count>, with `count` known when it is compiled. */
template <template <int> class Tile, int kMost>
inline void run_tile(const LinearTask& task, std::int64_t out, std::int64_t row, std::int64_t count) {
  if (count == kMost) {
    Tile<kMost>::run(task, out, row);
  } else if constexpr (kMost > 1) {
    run_tile<Tile, kMost - 1>(task, out, row, count);
  }
}

/** All rows of x, in tiles of at most kMost and of even size. */
template <template <int> class Tile, int kMost>
inline void over_rows(const LinearTask& task, std::int64_t out) {
  const std::int64_t tiles = (task.rows + kMost - 1) / kMost;
  std::int64_t row = 0;
  for (std::int64_t left = tiles; left > 0; --left) {
    const std::int64_t count = (task.rows - row + left - 1) / left;
    run_tile<Tile, kMost>(task, out, row, count);
    row += count;
  }
}

}  // namespace
}  // namespace blip2::BLIP2_KERNELS
