// Dtypes under the names that PyTorch prints: "float32", "bfloat16", "int64".
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>
#include <string>
#include <string_view>

namespace blip2 {

/** at::kFloat for "float32" and so on; nothing for a name that no file here may use. */
std::optional<at::ScalarType> dtype_named(std::string_view name);

/** "float32" for at::kFloat and so on. */
std::string dtype_name(at::ScalarType dtype);

}  // namespace blip2
