// What the names in torch.save's pickles mean, and the storages and tensors that they make. A tensor is checked against
// its storage as soon as it is made; where the storages lie in the file is known only afterwards.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "checkpoint/pickle.h"

namespace blip2 {

/** A run of elements that tensors look into. */
struct StoredElements {
  std::string key{};                      // names the record with the data
  std::optional<at::ScalarType> dtype{};  // none: bytes, each tensor says its own
  std::uint64_t count = 0;                // elements
  std::uint64_t bytes = 0;
  std::uint64_t begin = 0;  // of the file; set by who knows the layout
};

/** A tensor over storage number `storage`; offset and strides in elements. Lies within the storage. */
struct TensorView {
  at::ScalarType dtype = at::kFloat;
  std::size_t storage = 0;
  std::uint64_t offset = 0;
  std::uint64_t reach = 0;  // elements between the first and behind the last; 0 for an empty tensor
  std::vector<std::int64_t> shape{}, strides{};
};

class TorchObjects final : public PickleMeanings {
 public:
  /** `file` names the file in errors. */
  explicit TorchObjects(std::string file) : file_(std::move(file)) {}

  PickleValue global(const std::string& module, const std::string& name) override;
  PickleValue call(const PickleValue& callable, const PickleValue& arguments, const PickleValues& values) override;
  PickleValue persistent(const PickleValue& id, const PickleValues& values) override;

  std::vector<StoredElements>& storages() { return storages_; }
  const std::vector<TensorView>& tensors() const { return tensors_; }

  /** The storage of that key, null where there is none. */
  StoredElements* find_storage(const std::string& key);

 private:
  [[noreturn]] void refuse(const std::string& rule) const;
  PickleValue rebuild_tensor(const PickleValue& arguments, const PickleValues& values, bool names_dtype);

  std::string file_;
  std::vector<StoredElements> storages_;
  std::vector<TensorView> tensors_;
  std::unordered_map<std::string, std::size_t> storage_of_;
};

}  // namespace blip2
