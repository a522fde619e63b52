// A SAX reader rather than a JSON tree: it sees duplicate keys (a tree keeps one of them silently), refuses nesting the
// moment it is too deep, and never holds more than the entries themselves.
#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "blip2/core/error.h"
#include "checkpoint/dtype_names.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kLargestRank = 64;  // LibTorch's own limit in most kernels
constexpr std::uint64_t kLargestCount = std::numeric_limits<std::int64_t>::max();

class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool null() override { return value("null"); }
  bool boolean(bool) override { return value("true or false"); }
  bool number_integer(number_integer_t) override { return value("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return value("a number that is not an integer"); }
  bool binary(binary_t&) override { return value("binary data"); }

  bool number_unsigned(number_unsigned_t number) override {
    if (place_ == Place::kShape) {
      if (number > kLargestCount) refuse_tensor("'shape' holds " + std::to_string(number) + ", which is too large");
      if (tensor_.shape.size() == kLargestRank) refuse_tensor("'shape' has more than 64 dimensions");
      tensor_.shape.push_back(static_cast<std::int64_t>(number));
    } else if (place_ == Place::kOffsets) {
      if (offsets_.size() == 2) refuse_tensor("'data_offsets' must hold two numbers, found more");
      offsets_.push_back(number);
    } else {
      value("a number");
    }
    return true;
  }

  bool string(string_t& text) override {
    if (place_ == Place::kMetadata) {
      if (!header_.metadata.emplace(key_, text).second)
        refuse("'__metadata__' has the key " + in_quotes(key_) + " twice");
    } else if (place_ == Place::kTensor && key_ == "dtype") {
      read_dtype(text);
    } else {
      value("a string");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::kOutside) {
      place_ = Place::kTop;
    } else if (place_ == Place::kTop && key_ == "__metadata__") {
      place_ = Place::kMetadata;
    } else if (place_ == Place::kTop) {
      place_ = Place::kTensor;
      tensor_ = {};
      tensor_.name = key_;
      fields_.clear();
    } else {
      value("an object");
    }
    return true;
  }

  bool key(string_t& name) override {
    key_ = name;
    if (place_ == Place::kTop && !names_.insert(name).second) refuse("the name " + in_quotes(name) + " appears twice");
    if (place_ == Place::kTensor) {
      if (name != "dtype" && name != "shape" && name != "data_offsets")
        refuse_tensor("unknown field " + in_quotes(name));
      if (!fields_.insert(name).second) refuse_tensor("'" + name + "' appears twice");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor) finish_tensor();
    place_ = place_ == Place::kTop ? Place::kOutside : Place::kTop;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::kTensor && key_ == "shape") {
      place_ = Place::kShape;
    } else if (place_ == Place::kTensor && key_ == "data_offsets") {
      place_ = Place::kOffsets;
      offsets_.clear();
    } else {
      value("a list");
    }
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    const bool encoding = std::string_view(error.what()).find("UTF-8") != std::string_view::npos;
    refuse(std::string(encoding ? "not valid UTF-8" : "not valid JSON") + " at byte " + std::to_string(position) +
           " of the header");
  }

 private:
  enum class Place { kOutside, kTop, kMetadata, kTensor, kShape, kOffsets };

  [[noreturn]] void refuse(const std::string& rule) const {
    throw UserError("'" + file_ + "': not a valid safetensors file: " + rule);
  }
  [[noreturn]] void refuse_tensor(const std::string& rule) const {
    throw UserError("'" + file_ + "': tensor " + in_quotes(tensor_.name) + ": " + rule);
  }

  // A value of the wrong kind for the place where it stands.
  bool value(const std::string& found) const {
    switch (place_) {
      case Place::kOutside:
        refuse("the header must be an object, found " + found);
      case Place::kTop:
        refuse(in_quotes(key_) + " must be an object, found " + found);
      case Place::kMetadata:
        refuse("'__metadata__' must map to strings, found " + found + " at " + in_quotes(key_));
      case Place::kTensor:
        refuse_tensor("'" + key_ + "' must be " + (key_ == "dtype" ? "a string" : "a list") + ", found " + found);
      case Place::kShape:
        refuse_tensor("'shape' must hold non-negative integers, found " + found);
      case Place::kOffsets:
        refuse_tensor("'data_offsets' must hold non-negative integers, found " + found);
    }
    return false;
  }

  void read_dtype(const std::string& code) {
    const auto dtype = dtype_of_safetensors(code);
    if (!dtype) refuse_tensor("unknown dtype " + in_quotes(code));
    tensor_.dtype = *dtype;
  }

  void finish_tensor() {
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      if (fields_.count(field) == 0) refuse_tensor("'" + std::string(field) + "' is missing");
    }
    if (offsets_.size() != 2) {
      refuse_tensor("'data_offsets' must hold two numbers, found " + std::to_string(offsets_.size()));
    }
    tensor_.begin = offsets_[0];
    tensor_.end = offsets_[1];
    if (tensor_.end < tensor_.begin) {
      refuse_tensor("'data_offsets' end at " + std::to_string(tensor_.end) + ", before their begin " +
                    std::to_string(tensor_.begin));
    }
    const std::uint64_t bytes = byte_count();
    if (bytes != tensor_.end - tensor_.begin) {
      refuse_tensor("dtype and shape need " + std::to_string(bytes) + " bytes, 'data_offsets' span " +
                    std::to_string(tensor_.end - tensor_.begin));
    }
    header_.tensors.push_back(std::move(tensor_));
  }

  // A zero does not hide an overflow of the other dimensions: LibTorch's strides would still overflow.
  std::uint64_t byte_count() const {
    std::uint64_t product = c10::elementSize(tensor_.dtype);
    bool empty = false;
    for (const std::int64_t size : tensor_.shape) {
      empty = empty || size == 0;
      const std::uint64_t factor = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(size));
      if (product > kLargestCount / factor) refuse_tensor("the size in bytes of its shape overflows 63 bits");
      product *= factor;
    }
    return empty ? 0 : product;
  }

  const std::string& file_;
  SafetensorsHeader header_;
  Place place_ = Place::kOutside;
  std::string key_;
  std::set<std::string> names_;
  TensorInfo tensor_;
  std::set<std::string> fields_;
  std::vector<std::uint64_t> offsets_;
};

// The tensors must tile the buffer: no hole, no overlap, nothing behind the last one.
void check_tiling(const std::vector<TensorInfo>& tensors, std::uint64_t buffer_size, const std::string& file) {
  std::uint64_t covered = 0;
  for (const auto& tensor : tensors) {
    if (tensor.begin != covered) {
      throw UserError("'" + file + "': tensor " + in_quotes(tensor.name) + ": its data begins at " +
                      std::to_string(tensor.begin) + ", " +
                      (tensor.begin > covered ? "leaving a hole after " : "overlapping ") + std::to_string(covered));
    }
    covered = tensor.end;
    if (covered > buffer_size) {
      throw UserError("'" + file + "': tensor " + in_quotes(tensor.name) + ": its data ends at " +
                      std::to_string(covered) + " but the file holds " + std::to_string(buffer_size) +
                      " bytes of data, is the download complete?");
    }
  }
  if (covered != buffer_size) {
    throw UserError("'" + file + "': not a valid safetensors file: " + std::to_string(buffer_size - covered) +
                    " bytes after the last tensor belong to none");
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t buffer_size, const std::string& file) {
  // The JSON lexer would skip a byte order mark and take a raw NUL for the end.
  if (text.empty() || text.front() != '{' || text.find('\0') != std::string_view::npos) {
    throw UserError("'" + file + "': not a valid safetensors file: the header must be JSON that begins with '{'");
  }
  HeaderReader reader(file);
  Json::sax_parse(text.begin(), text.end(), &reader);
  SafetensorsHeader header = reader.take();
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  check_tiling(header.tensors, buffer_size, file);
  return header;
}

}  // namespace blip2
