// Random numbers that are the same on every machine and can be stored: splitmix64 seeding a xoshiro256++ generator.
// The standard library's distributions are not specified to the bit, torch's generator is global; data order, crops and
// scenes use this one. A sample's generator is derived from (seed, epoch, index), so a resumed run, or one with another
// number of workers, sees the same samples.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

namespace blip2 {

class Random {
 public:
  /** A generator for a stream named by any list of numbers, e.g. `Random({seed, epoch, index})`. */
  explicit Random(std::initializer_list<std::uint64_t> stream);

  /** 64 uniformly random bits. */
  std::uint64_t bits();
  /** Uniform in [0, 1), 53 bits. */
  double uniform();
  /** Uniform in [low, high). */
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /** Uniform integer in [0, count) without bias; count > 0. */
  std::int64_t below(std::int64_t count);
  bool coin(double probability) { return uniform() < probability; }

  /** Fisher-Yates. */
  template <typename Value>
  void shuffle(std::vector<Value>& values) {
    for (std::size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1], values[static_cast<std::size_t>(below(static_cast<std::int64_t>(i)))]);
    }
  }

 private:
  std::array<std::uint64_t, 4> state_;
};

}  // namespace blip2
