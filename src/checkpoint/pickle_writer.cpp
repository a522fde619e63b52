#include "checkpoint/pickle_writer.h"

#include "checkpoint/dtype_names.h"

namespace blip2 {
namespace {

// Opcodes, under the names of Python's pickletools.
constexpr char kMark = '(', kEmptyDict = '}', kSetItems = 'u', kEmptyTuple = ')', kTuple = 't', kReduce = 'R',
               kGlobal = 'c', kPersistentId = 'Q', kFalse = '\x89', kUnicode = 'X', kInteger32 = 'J',
               kLongInteger = '\x8a', kStop = '.';

const char* storage_name(at::ScalarType dtype) {
  const DtypeNames* names = names_of(dtype);
  TORCH_CHECK(names != nullptr && names->storage != nullptr, "save_torch_archive: dtype ", dtype,
              " is not written: convert the tensor first");
  return names->storage;
}

}  // namespace

void PickleWriter::begin_dict() {
  bytes_ += {kEmptyDict, kMark};
}

void PickleWriter::end_dict() {
  bytes_ += kSetItems;
}

void PickleWriter::number(std::uint64_t value, int width) {
  for (int i = 0; i < width; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xff);
}

void PickleWriter::text(std::string_view text) {
  bytes_ += kUnicode;
  number(text.size(), 4);
  bytes_ += text;
}

void PickleWriter::integer(std::int64_t value) {
  if (value >= INT32_MIN && value <= INT32_MAX) {
    bytes_ += kInteger32;
    number(static_cast<std::uint64_t>(value), 4);
    return;
  }
  bytes_ += {kLongInteger, '\x08'};
  number(static_cast<std::uint64_t>(value), 8);
}

void PickleWriter::integers(at::IntArrayRef values) {
  bytes_ += kMark;
  for (const std::int64_t value : values) integer(value);
  bytes_ += kTuple;
}

void PickleWriter::global(std::string_view module, std::string_view name) {
  bytes_ += kGlobal;
  bytes_.append(module).append("\n").append(name).append("\n");
}

void PickleWriter::tensor(const std::string& storage, at::ScalarType dtype, at::IntArrayRef shape) {
  std::vector<std::int64_t> strides(shape.size());
  std::int64_t count = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    strides[i] = std::max<std::int64_t>(count, 1);
    count *= shape[i];
  }
  global("torch._utils", "_rebuild_tensor_v2");
  bytes_ += {kMark, kMark};
  text("storage");
  global("torch", storage_name(dtype));
  text(storage);
  text("cpu");
  integer(count);
  bytes_ += {kTuple, kPersistentId};
  integer(0);
  integers(shape);
  integers(strides);
  bytes_ += kFalse;  // no gradient
  global("collections", "OrderedDict");
  bytes_ += {kEmptyTuple, kReduce};  // no hooks
  bytes_ += {kTuple, kReduce};
}

std::string PickleWriter::finish() {
  return std::move(bytes_ += kStop);
}

}  // namespace blip2
