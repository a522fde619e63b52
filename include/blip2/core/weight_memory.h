// Memory for tensors that stay, the weights of a model, and for those that come again with every step.
#pragma once

#include <ATen/core/Tensor.h>

namespace blip2 {

/**
 * A tensor on the CPU whose contents do not matter yet. Large ones come straight from the operating system: in huge
 * pages where it grants them (filling them and reading all of them for every token is then faster), unoccupied until
 * they are written, and given back whole, so that replacing a model's weights one by one leaves no holes behind.
 */
at::Tensor empty_weight(at::IntArrayRef sizes, at::ScalarType dtype);

/**
 * From now on memory that is freed stays with the program. A training step needs what the last one needed, and having
 * it from the operating system anew costs a fault for every page: a tenth of a step.
 */
void keep_freed_memory();

}  // namespace blip2
