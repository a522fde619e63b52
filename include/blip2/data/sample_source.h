// A numbered set of samples, each of which can be made alone, in any order and in any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "blip2/core/random.h"

namespace blip2 {

/** One picture with one caption. */
struct Sample {
  /** [3, image_size, image_size], row-major; empty where the picture's features lie ready (`record`). */
  std::vector<float> pixels;
  std::string caption;
  /** Equal for samples of one picture. */
  std::int64_t image_id = 0;
  /** Where the features of this view of the picture belong in a FeatureStore; -1: nowhere. */
  std::int64_t record = -1;
};

class SampleSource {
 public:
  virtual ~SampleSource() = default;

  virtual std::int64_t size() const = 0;

  /** Side of the square pictures. */
  virtual std::int64_t image_size() const = 0;

  /**
   * Makes sample `index`; all that is random about it comes from `random`. Called from several threads. Throws
   * UserError for a sample that cannot be read (the loader goes on without it); anything else ends the run.
   */
  virtual Sample load(std::int64_t index, Random& random) const = 0;

  /** What to call a sample in a message: its file. */
  virtual std::string name(std::int64_t index) const = 0;
};

}  // namespace blip2
