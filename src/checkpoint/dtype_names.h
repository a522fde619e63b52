// The one table of dtypes: what PyTorch prints, what the header of a safetensors file says, and the class that a
// torch.save file names its storages by.
#pragma once

#include <c10/core/ScalarType.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace blip2 {

struct DtypeNames {
  at::ScalarType dtype;
  const char* name;         // "float32"
  const char* safetensors;  // "F32"
  const char* storage;      // "FloatStorage" of module torch; null: written as bytes with the dtype beside them
};

/** Every dtype that a file may use. */
inline constexpr std::array<DtypeNames, 17> kDtypeNames{{
    {at::kFloat, "float32", "F32", "FloatStorage"},
    {at::kHalf, "float16", "F16", "HalfStorage"},
    {at::kBFloat16, "bfloat16", "BF16", "BFloat16Storage"},
    {at::kDouble, "float64", "F64", "DoubleStorage"},
    {at::kLong, "int64", "I64", "LongStorage"},
    {at::kInt, "int32", "I32", "IntStorage"},
    {at::kShort, "int16", "I16", "ShortStorage"},
    {at::kChar, "int8", "I8", "CharStorage"},
    {at::kByte, "uint8", "U8", "ByteStorage"},
    {at::kBool, "bool", "BOOL", "BoolStorage"},
    {at::kUInt16, "uint16", "U16", nullptr},
    {at::kUInt32, "uint32", "U32", nullptr},
    {at::kUInt64, "uint64", "U64", nullptr},
    {at::kFloat8_e4m3fn, "float8_e4m3fn", "F8_E4M3", nullptr},
    {at::kFloat8_e5m2, "float8_e5m2", "F8_E5M2", nullptr},
    {at::kFloat8_e8m0fnu, "float8_e8m0fnu", "F8_E8M0", nullptr},
    {at::kComplexFloat, "complex64", "C64", nullptr},
}};

/** The line of the table, or null for a dtype that no file here may use. */
const DtypeNames* names_of(at::ScalarType dtype);

/** at::kFloat for "float32" and so on; nothing for a name that no file here may use. */
std::optional<at::ScalarType> dtype_named(std::string_view name);

/** at::kFloat for "F32" and so on. */
std::optional<at::ScalarType> dtype_of_safetensors(std::string_view code);

/** "float32" for at::kFloat and so on. */
std::string dtype_name(at::ScalarType dtype);

}  // namespace blip2
