// Memory for tensors that stay: the weights of a model.
#pragma once

#include <ATen/core/Tensor.h>

namespace blip2 {

/**
 * A tensor on the CPU whose contents do not matter yet. Large ones come straight from the operating system: in huge
 * pages where it grants them (filling them and reading all of them for every token is then faster), unoccupied until
 * they are written, and given back whole, so that replacing a model's weights one by one leaves no holes behind.
 */
at::Tensor empty_weight(at::IntArrayRef sizes, at::ScalarType dtype);

}  // namespace blip2
