// A shape inside a sentence, "[2, 3]"; of a hostile file's rank the beginning.
#pragma once

#include <c10/util/ArrayRef.h>

#include <cstdint>
#include <string>

namespace blip2 {

inline std::string shape_text(c10::ArrayRef<std::int64_t> shape) {
  constexpr std::size_t kMostShown = 64;  // LibTorch's largest rank
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size() && i < kMostShown; ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + (shape.size() > kMostShown ? ", ...]" : "]");
}

}  // namespace blip2
