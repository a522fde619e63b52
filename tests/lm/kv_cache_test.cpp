#include "blip2/lm/kv_cache.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace blip2 {
namespace {

KeyValue random_entry(std::int64_t rows, std::int64_t length) {
  return {torch::randn({rows, 2, length, 3}), torch::randn({rows, 2, length, 3})};
}

TEST(KeyValueCache, HoldsWhatWasAppendedBeyondItsFirstRoom) {
  torch::manual_seed(1);
  KeyValueCache cache;
  std::vector<at::Tensor> keys, values;
  for (int step = 0; step < 90; ++step) {
    const KeyValue added = random_entry(4, step == 0 ? 7 : 1);
    keys.push_back(added.key);
    values.push_back(added.value);
    const KeyValue all = cache.append(added);
    ASSERT_TRUE(torch::equal(all.key, torch::cat(keys, 2))) << step;
    ASSERT_TRUE(torch::equal(all.value, torch::cat(values, 2))) << step;
  }
  EXPECT_EQ(cache.length(), 96);
}

TEST(KeyValueCache, StepWritesIntoTheSameBuffer) {
  KeyValueCache cache;
  const void* first = cache.append(random_entry(2, 5)).key.data_ptr();
  EXPECT_EQ(cache.append(random_entry(2, 1)).key.data_ptr(), first);
}

TEST(KeyValueCache, ReorderRepeatsAndDropsRows) {
  torch::manual_seed(2);
  KeyValueCache cache;
  const KeyValue before = random_entry(3, 5);
  cache.append(before);
  const at::Tensor rows = torch::tensor({2, 2, 0, 0, 2}, torch::kLong);
  cache.reorder(rows);
  const KeyValue added = random_entry(5, 1), all = cache.append(added);
  EXPECT_TRUE(torch::equal(all.key, torch::cat({before.key.index_select(0, rows), added.key}, 2)));
  EXPECT_TRUE(torch::equal(all.value, torch::cat({before.value.index_select(0, rows), added.value}, 2)));
}

TEST(KeyValueCache, RefusesAnotherNumberOfRows) {
  KeyValueCache cache;
  cache.append(random_entry(3, 5));
  EXPECT_THROW(cache.append(random_entry(2, 1)), c10::Error);
}

}  // namespace
}  // namespace blip2
