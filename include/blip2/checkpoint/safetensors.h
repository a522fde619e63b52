// The safetensors container: 8 bytes of header length, a JSON header (name -> dtype, shape, data_offsets), one buffer.
// Hugging Face spec 2.6. The header is believed only after every rule holds; where the reference reader is lax
// (duplicate names, unknown fields, leading spaces) this one refuses. Data is read with pread, not through a mapping:
// a file that shrinks or a disk that fails while we read is then an error instead of a SIGBUS.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace blip2 {

/** Tensors by name, ordered by name. */
using NamedTensors = std::map<std::string, at::Tensor>;

/** One entry of the header; `begin` and `end` are byte offsets into the buffer. */
struct TensorInfo {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/** An open file whose header has been checked; reads tensors one at a time. Safe to read from several threads. */
class SafetensorsFile {
 public:
  /**
   * Opens and checks the whole header. Throws UserError `'FILE': tensor 'NAME': rule` for a file that is missing or
   * breaks a rule, WorldError when the disk does not let us read it.
   */
  explicit SafetensorsFile(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::filesystem::path& path() const;

  /** Every tensor, in the order of the data. */
  const std::vector<TensorInfo>& tensors() const;

  /** The `__metadata__` strings; empty when the file has none. */
  const std::map<std::string, std::string>& metadata() const;

  bool contains(const std::string& name) const;

  /** Shape and dtype of one tensor. Throws UserError when the file does not hold it. */
  const TensorInfo& info(const std::string& name) const;

  /** One tensor as an own copy on the CPU, in the file's dtype. Throws UserError when the file does not hold it. */
  at::Tensor read(const std::string& name) const;

  /** Its first values [min(count, all)], row by row; nothing else is read. Throws as `read` does. */
  at::Tensor read_first(const std::string& name, std::int64_t count) const;

  /** The whole into a tensor of the same shape, of any dtype and device, without a second copy on the CPU. */
  void read_into(at::Tensor target, const std::string& name) const;

 private:
  struct Contents;
  std::unique_ptr<Contents> contents_;
};

/** Every tensor of a file. Throws as SafetensorsFile does. */
NamedTensors load_safetensors(const std::filesystem::path& path);

/**
 * Writes tensors of dtype F32 F16 BF16 F64 I64 I32 I16 I8 U8 BOOL, on any device and of any strides, atomically. The
 * metadata always says "format": "pt", without which Python's transformers refuses the file. The same tensors give the
 * same bytes. Throws WorldError when the disk refuses, UserError for a name or metadata that is not UTF-8.
 */
void save_safetensors(const NamedTensors& tensors, const std::filesystem::path& path,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace blip2
