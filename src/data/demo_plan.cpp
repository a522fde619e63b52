#include <algorithm>
#include <string>
#include <utility>

#include "blip2/core/error.h"
#include "blip2/data/demo_set.h"

namespace blip2 {
namespace {

using Pair = std::vector<std::int64_t>;

// Streams of Random below (seed, kPlanStream).
constexpr std::uint64_t kPlanStream = 1000;

void require(bool condition, const std::string& sentence) {
  if (!condition) throw UserError("demo set: " + sentence);
}

std::int64_t count_pairs(std::int64_t stamps) {
  return stamps * (stamps - 1) / 2;
}

std::vector<Pair> all_pairs(std::int64_t stamps) {
  std::vector<Pair> pairs;
  for (std::int64_t a = 0; a < stamps; ++a) {
    for (std::int64_t b = a + 1; b < stamps; ++b) pairs.push_back({a, b});
  }
  return pairs;
}

// Takes `count` of the pairs out of `pairs`, hardly more often from one stamp than from another: the cap on a stamp's
// share grows only when no pair fits below it.
std::vector<Pair> take_evenly(std::vector<Pair>& pairs, std::int64_t count, std::int64_t stamps) {
  std::vector<Pair> taken;
  std::vector<std::int64_t> used(static_cast<std::size_t>(stamps), 0);
  for (std::int64_t cap = 1; static_cast<std::int64_t>(taken.size()) < count; ++cap) {
    std::vector<Pair> rest;
    for (auto& pair : pairs) {
      auto &first = used[static_cast<std::size_t>(pair[0])], &second = used[static_cast<std::size_t>(pair[1])];
      if (static_cast<std::int64_t>(taken.size()) < count && first < cap && second < cap) {
        ++first, ++second;
        taken.push_back(std::move(pair));
      } else {
        rest.push_back(std::move(pair));
      }
    }
    pairs = std::move(rest);
  }
  return taken;
}

// Goes round `scenes`, newly shuffled each time, until there are `count`.
std::vector<Pair> go_round(std::vector<Pair> scenes, std::int64_t count, Random& random) {
  std::vector<Pair> result;
  while (static_cast<std::int64_t>(result.size()) < count) {
    random.shuffle(scenes);
    for (const auto& scene : scenes) {
      if (static_cast<std::int64_t>(result.size()) == count) break;
      result.push_back(scene);
      if (random.coin(0.5)) std::reverse(result.back().begin(), result.back().end());
    }
  }
  return result;
}

}  // namespace

void visit_fields(FieldVisitor& visitor, DemoSetOptions& options) {
  visitor.field("seed", options.seed);
  visitor.field("stamps", options.stamps);
  visitor.field("single", options.single);
  visitor.field("train", options.train);
  visitor.field("held_out", options.held_out);
  visitor.field("shuffle_captions", options.shuffle_captions);
  visitor.nested("scene", options.scene);
}

void validate(const DemoSetOptions& options) {
  constexpr std::int64_t kMaxScenes = 10'000'000;
  require(options.stamps >= 4 && options.stamps <= 10'000, "'stamps' must be from 4 to 10000");
  const auto is_count = [](std::int64_t value) { return value >= 0 && value <= kMaxScenes; };
  require(is_count(options.single) && is_count(options.train) && is_count(options.held_out),
          "'single', 'train' and 'held_out' must be from 0 to 10000000");
  const std::int64_t pairs = count_pairs(options.stamps);
  require(options.held_out <= pairs / 2, std::to_string(options.stamps) + " stamps make " + std::to_string(pairs) +
                                             " pairs, of which at most half can be held out, not " +
                                             std::to_string(options.held_out));
  validate(options.scene);
}

DemoPlan plan_demo_set(const DemoSetOptions& options) {
  validate(options);
  Random random({static_cast<std::uint64_t>(options.seed), kPlanStream});
  std::vector<Pair> singles;
  for (std::int64_t stamp = 0; stamp < options.stamps; ++stamp) singles.push_back({stamp});
  auto pairs = all_pairs(options.stamps);
  random.shuffle(pairs);
  auto held_out = take_evenly(pairs, options.held_out, options.stamps);
  DemoPlan plan;
  plan.single = go_round(std::move(singles), options.single, random);
  plan.train = go_round(std::move(pairs), options.train, random);
  plan.held_out = go_round(std::move(held_out), options.held_out, random);
  return plan;
}

}  // namespace blip2
