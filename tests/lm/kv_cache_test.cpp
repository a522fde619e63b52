// The cache against attention over everything that was appended, copied together: in float32, where the CPU's own loops
// find keys where they were computed, and in float64, where rows are copied.
#include "blip2/lm/kv_cache.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace blip2 {
namespace {

constexpr std::int64_t kHeads = 3;

/** A cache of two layers beside the whole keys and values of each. */
class CacheAndCopies {
 public:
  CacheAndCopies(at::ScalarType dtype, std::int64_t head_dim)
      : dtype_(dtype), width_(kHeads * head_dim), scale_(1 / std::sqrt(head_dim)) {}

  /** Largest difference of the context of `length` new positions of both layers. */
  double append(std::int64_t rows, std::int64_t length, const at::Tensor& mask = {}) {
    double worst = 0;
    for (std::size_t layer = 0; layer < 2; ++layer) {
      const KeyValue added{random(rows, length), random(rows, length)};
      const at::Tensor query = random(rows, length) * 3;
      KeyValue& all = copies_[layer];
      all =
          all.key.defined() ? KeyValue{at::cat({all.key, added.key}, 1), at::cat({all.value, added.value}, 1)} : added;
      const at::Tensor context = cache_.attend(layer, query, added, mask, scale_);
      const at::Tensor bias = mask.defined() ? mask.to(at::kDouble) : mask;
      const KeyValue wide{split_heads(all.key.to(at::kDouble), kHeads), split_heads(all.value.to(at::kDouble), kHeads)};
      const at::Tensor expected =
          merge_heads(attention(split_heads(query.to(at::kDouble), kHeads), wide, bias, scale_));
      EXPECT_EQ(context.scalar_type(), dtype_);
      worst = std::max(worst, (context.to(at::kDouble) - expected).abs().max().item<double>());
    }
    EXPECT_EQ(cache_.length(), copies_[0].key.size(1));
    return worst;
  }

  void reorder(const std::vector<std::int64_t>& rows) {
    const at::Tensor index = torch::tensor(rows, torch::kLong);
    cache_.reorder(index);
    for (KeyValue& all : copies_) all = {all.key.index_select(0, index), all.value.index_select(0, index)};
  }

  KeyValueCache& cache() { return cache_; }
  at::Tensor random(std::int64_t rows, std::int64_t length) const {
    return torch::randn({rows, length, width_}, dtype_);
  }

 private:
  at::ScalarType dtype_;
  std::int64_t width_;
  double scale_;
  KeyValueCache cache_{2, kHeads};
  KeyValue copies_[2];
};

double tolerance(at::ScalarType dtype) {
  return dtype == at::kDouble ? 1e-12 : 4e-6;
}

TEST(KeyValueCache, AttendsToAllThatWasAppended) {
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    for (const std::int64_t head_dim : {1, 5, 16, 24, 80}) {
      torch::manual_seed(1);
      CacheAndCopies both(dtype, head_dim);
      for (int step = 0; step < 40; ++step) {
        EXPECT_LT(both.append(4, step == 0 ? 7 : 1), tolerance(dtype)) << dtype << " " << head_dim << " " << step;
      }
    }
  }
}

TEST(KeyValueCache, ReorderRepeatsAndDropsRowsThatWereReorderedBefore) {
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    torch::manual_seed(2);
    CacheAndCopies both(dtype, 20);
    both.append(3, 5);
    for (const std::vector<std::int64_t>& rows : std::vector<std::vector<std::int64_t>>{
             {0, 0, 1, 1, 2, 2}, {1, 0, 3, 3, 4, 5}, {1, 0, 3, 3, 4, 5}, {0, 1, 4, 5}, {3, 0, 0, 2, 1, 2, 2}, {4}}) {
      both.reorder(rows);
      EXPECT_LT(both.append(static_cast<std::int64_t>(rows.size()), 1), tolerance(dtype));
    }
  }
}

TEST(KeyValueCache, AddsTheMaskOfEveryRowAndHead) {
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    torch::manual_seed(3);
    CacheAndCopies both(dtype, 8);
    both.append(4, 6);
    EXPECT_LT(both.append(4, 1, torch::randn({4, 1, 1, 7}, dtype)), tolerance(dtype));
    // As T5 makes its biases: positions are not side by side.
    EXPECT_LT(both.append(4, 1, torch::randn({1, 8, kHeads}, dtype).permute({2, 0, 1}).unsqueeze(0)), tolerance(dtype));
    const at::Tensor hidden = additive_mask(torch::tensor({0, 0, 0, 1, 1, 1, 1, 1, 1}).view({1, 1, 1, 9}), dtype);
    EXPECT_LT(both.append(4, 1, hidden), tolerance(dtype));
  }
}

TEST(KeyValueCache, ARowDoesNotKnowItsBatch) {
  torch::manual_seed(4);
  const at::Tensor key = torch::randn({3, 5, 48}), value = torch::randn({3, 5, 48}), step = torch::randn({3, 1, 48});
  const auto context = [&](const at::Tensor& rows) {
    KeyValueCache cache(1, kHeads);
    cache.attend(0, key.index_select(0, rows), {key.index_select(0, rows), value.index_select(0, rows)}, {}, 1.0);
    const at::Tensor own = step.index_select(0, rows);
    return cache.attend(0, own, {own, own}, {}, 1.0);
  };
  const at::Tensor together = context(torch::arange(3));
  for (std::int64_t row = 0; row < 3; ++row) EXPECT_TRUE(torch::equal(context(torch::tensor({row}))[0], together[row]));
}

TEST(KeyValueCache, KeepsWhatIsNoNumberInItsRow) {
  CacheAndCopies both(at::kFloat, 16);
  both.append(2, 4);
  at::Tensor query = both.random(2, 1);
  query[1][0][5] = std::nan("");
  const at::Tensor context = both.cache().attend(0, query, {both.random(2, 1), both.random(2, 1)}, {}, 1.0);
  EXPECT_TRUE(context[0].isfinite().all().item<bool>());
  EXPECT_TRUE(context[1].narrow(1, 0, 16).isnan().all().item<bool>());
}

TEST(KeyValueCache, RefusesAnotherNumberOfRowsAndRowsThatAreNotThere) {
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    CacheAndCopies both(dtype, 4);
    both.append(3, 5);
    const at::Tensor two = both.random(2, 1), one = both.random(3, 1);
    EXPECT_THROW(both.cache().attend(0, two, {two, two}, {}, 1.0), c10::Error);
    EXPECT_THROW(both.cache().attend(0, one, {one.narrow(2, 0, 6), one.narrow(2, 0, 6)}, {}, 1.0), c10::Error);
    EXPECT_THROW(both.cache().reorder(torch::tensor({0, 3})), std::exception);
    EXPECT_THROW(both.cache().reorder(torch::tensor({-1})), std::exception);
  }
}

}  // namespace
}  // namespace blip2
