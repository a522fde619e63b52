// Files of torch.save (`.bin`, `.pth`, `.pt`), the zip form and the older one, read without running anything in them:
// only dicts, lists, texts, numbers and tensors can come out, and a pickle that names anything else is refused.
// Every size is checked against the file before memory is taken. A zip's checksums are not compared: torch.save can
// leave them out.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "blip2/checkpoint/safetensors.h"

namespace blip2 {

/** Where a tensor lies: its elements at `begin` + stride * index, all within `begin` to `end` (bytes of the file). */
struct TorchTensor {
  at::ScalarType dtype = at::kFloat;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // in elements, not negative
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/** One value of a file and what is in it: a tree of bounded size and depth. */
struct TorchValue {
  enum class Kind { kNone, kBool, kInteger, kReal, kText, kName, kList, kTuple, kDict, kTensor };

  Kind kind = Kind::kNone;
  std::int64_t integer = 0;         // kBool, kInteger; kTensor: its place in TorchArchive::tensors()
  double real = 0.0;                // kReal
  std::string text{};               // kText; kName: a dtype or device such as "torch.float32" or "cpu"
  std::vector<TorchValue> keys{};   // kDict: texts and integers in the file's order, none twice
  std::vector<TorchValue> items{};  // kList, kTuple; kDict: the value of each key

  /** The value of a text key, null where the value is no dict or lacks it. */
  const TorchValue* find(std::string_view key) const;
};

/** An open file whose pickle was read and checked; tensors are read when asked for. Safe for several threads. */
class TorchArchive {
 public:
  /**
   * Opens the file and reads everything but the data. Throws UserError `'FILE': rule` for a file that is missing,
   * damaged or names anything beside weights, WorldError when the disk does not let us read it.
   */
  explicit TorchArchive(const std::filesystem::path& path);
  ~TorchArchive();
  TorchArchive(TorchArchive&&) noexcept;
  TorchArchive& operator=(TorchArchive&&) noexcept;

  const std::filesystem::path& path() const;

  /** Whether it is a zip, what torch.save writes since version 1.6. */
  bool is_zip() const;

  /** What torch.load would return. */
  const TorchValue& content() const;

  /** The tensors in `content`, in the file's order; a tensor that stands in two places is one. */
  const std::vector<TorchTensor>& tensors() const;

  /** One tensor of `tensors` as an own row-major copy on the CPU, in the file's dtype. */
  at::Tensor read(const TorchTensor& tensor) const;

 private:
  struct Contents;
  std::unique_ptr<Contents> contents_;
};

/** The state dict in a file: the dict under "model", "state_dict" or "module", else the outermost one. */
class TorchStateDict {
 public:
  /** Throws as TorchArchive does, and UserError when it is no dict or holds something beside tensors under texts. */
  explicit TorchStateDict(const std::filesystem::path& path);

  /** "model", "state_dict" or "module" as found; "" for the outermost dict. */
  const std::string& section() const { return section_; }

  /** Every tensor, in order of name; `begin` and `end` as in TorchTensor. */
  const std::vector<TensorInfo>& tensors() const { return tensors_; }

  bool contains(const std::string& name) const { return places_.count(name) != 0; }

  /** Shape and dtype of one tensor. Throws UserError when the state dict does not hold it. */
  const TensorInfo& info(const std::string& name) const;

  /** One tensor as an own copy on the CPU, in the file's dtype. Throws as `info` does. */
  at::Tensor read(const std::string& name) const;

 private:
  struct Place {
    std::size_t info, tensor;
  };
  const Place& place_of(const std::string& name) const;

  TorchArchive archive_;
  std::string section_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, Place> places_;
};

/** Every tensor of a file's state dict. Throws as TorchStateDict does. */
NamedTensors load_torch_state_dict(const std::filesystem::path& path);

}  // namespace blip2
