#include "checkpoint/dtype_names.h"

#include <array>

namespace blip2 {
namespace {

struct Named {
  const char* name;
  at::ScalarType dtype;
};
constexpr std::array<Named, 17> kNamed{{
    {"float32", at::kFloat},
    {"float16", at::kHalf},
    {"bfloat16", at::kBFloat16},
    {"float64", at::kDouble},
    {"int64", at::kLong},
    {"int32", at::kInt},
    {"int16", at::kShort},
    {"int8", at::kChar},
    {"uint8", at::kByte},
    {"bool", at::kBool},
    {"uint16", at::kUInt16},
    {"uint32", at::kUInt32},
    {"uint64", at::kUInt64},
    {"float8_e4m3fn", at::kFloat8_e4m3fn},
    {"float8_e5m2", at::kFloat8_e5m2},
    {"float8_e8m0fnu", at::kFloat8_e8m0fnu},
    {"complex64", at::kComplexFloat},
}};

}  // namespace

std::optional<at::ScalarType> dtype_named(std::string_view name) {
  for (const auto& known : kNamed) {
    if (name == known.name) return known.dtype;
  }
  return std::nullopt;
}

std::string dtype_name(at::ScalarType dtype) {
  for (const auto& known : kNamed) {
    if (dtype == known.dtype) return known.name;
  }
  return c10::toString(dtype);
}

}  // namespace blip2
