// The pickle of a torch.save file (protocol 2): nested dicts of tensors, in the opcodes that Python's restricted reader
// allows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace blip2 {

class PickleWriter {
 public:
  /** A dict's entries, each a text and then a value, stand between these two. */
  void begin_dict();
  void end_dict();

  void text(std::string_view text);

  /** A row-major tensor at the start of the storage in record data/KEY. Throws (TORCH_CHECK) for another dtype. */
  void tensor(const std::string& storage, at::ScalarType dtype, at::IntArrayRef shape);

  /** All of it; nothing may be written afterwards. */
  std::string finish();

 private:
  void number(std::uint64_t value, int width);
  void integer(std::int64_t value);
  void integers(at::IntArrayRef values);
  void global(std::string_view module, std::string_view name);

  std::string bytes_{"\x80\x02"};
};

}  // namespace blip2
