// Where and how new weights come into being. Billions of random numbers that a checkpoint overwrites a moment later
// cost a minute, and a float32 copy of a model that runs in bfloat16 costs twice its memory.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

namespace blip2 {

struct WeightOptions {
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;  // at::kMeta: shapes without memory
};

/**
 * While one lives, models that are built on this thread leave the memory of their weights as it is, for weights that
 * are loaded next. Untouched memory is not even occupied.
 */
class SkipInitialization {
 public:
  SkipInitialization();
  ~SkipInitialization();
  SkipInitialization(const SkipInitialization&) = delete;
  SkipInitialization& operator=(const SkipInitialization&) = delete;

  static bool active();

 private:
  bool before_;
};

}  // namespace blip2
