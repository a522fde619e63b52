// Where and how the weights of a language model come into being. Billions of random numbers that a checkpoint
// overwrites a moment later cost a minute, and a float32 copy of a model that runs in bfloat16 costs twice its memory.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

namespace blip2 {

struct WeightOptions {
  bool initialize = true;  // false: leave the memory as it is, for weights that are loaded next
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;  // at::kMeta: shapes without memory
};

}  // namespace blip2
