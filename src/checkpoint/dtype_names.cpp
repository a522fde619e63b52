#include "checkpoint/dtype_names.h"

namespace blip2 {

const DtypeNames* names_of(at::ScalarType dtype) {
  for (const auto& known : kDtypeNames) {
    if (dtype == known.dtype) return &known;
  }
  return nullptr;
}

std::optional<at::ScalarType> dtype_named(std::string_view name) {
  for (const auto& known : kDtypeNames) {
    if (name == known.name) return known.dtype;
  }
  return std::nullopt;
}

std::optional<at::ScalarType> dtype_of_safetensors(std::string_view code) {
  for (const auto& known : kDtypeNames) {
    if (code == known.safetensors) return known.dtype;
  }
  return std::nullopt;
}

std::string dtype_name(at::ScalarType dtype) {
  const DtypeNames* known = names_of(dtype);
  return known != nullptr ? known->name : c10::toString(dtype);
}

}  // namespace blip2
