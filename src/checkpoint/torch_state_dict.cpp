// A state dict as a flat list of tensors, whatever the training program saved around it.
#include <array>

#include "blip2/checkpoint/torch_archive.h"
#include "blip2/core/error.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

using Kind = TorchValue::Kind;

const char* described(Kind kind) {
  static constexpr std::array kNames{"None",   "true or false", "an integer", "a number", "a text",
                                     "a name", "a list",        "a tuple",    "a dict",   "a tensor"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::uint64_t bytes_of(const TorchTensor& tensor) {
  std::uint64_t bytes = c10::elementSize(tensor.dtype);
  for (const std::int64_t size : tensor.shape) bytes *= static_cast<std::uint64_t>(size);
  return bytes;
}

}  // namespace

TorchStateDict::TorchStateDict(const std::filesystem::path& path) : archive_(path) {
  const TorchValue* dict = &archive_.content();
  for (const char* section : {"model", "state_dict", "module"}) {
    const TorchValue* inner = archive_.content().find(section);
    if (inner == nullptr || inner->kind != Kind::kDict) continue;
    section_ = section;
    dict = inner;
    break;
  }
  const std::string where = "'" + path.string() + "': ";
  if (dict->kind != Kind::kDict) throw UserError(where + "expected a state dict, found " + described(dict->kind));
  std::map<std::string, std::size_t> by_name;
  for (std::size_t i = 0; i < dict->items.size(); ++i) {
    const TorchValue &key = dict->keys[i], &value = dict->items[i];
    const std::string name = key.kind == Kind::kText ? key.text : std::to_string(key.integer);
    if (key.kind != Kind::kText || value.kind != Kind::kTensor) {
      throw UserError(where +
                      "expected a state dict of named tensors (outermost or under 'model', 'state_dict' or "
                      "'module'), found " +
                      described(value.kind) + " under " + in_quotes(name));
    }
    by_name.emplace(name, static_cast<std::size_t>(value.integer));
  }
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : by_name) {
    const TorchTensor& found = archive_.tensors()[tensor];
    places_.emplace(name, Place{tensors_.size(), tensor});
    tensors_.push_back({name, found.dtype, found.shape, found.begin, found.end});
    bytes += bytes_of(found);
  }
  // Tied weights share a storage; a hundred thousand tensors over one would fill the memory of whoever loads all.
  const std::uint64_t limit = 16 * std::filesystem::file_size(path) + (1U << 24);
  if (bytes > limit) {
    throw UserError(where + "its tensors would fill " + std::to_string(bytes) + " bytes, more than 16 times the file");
  }
}

const TorchStateDict::Place& TorchStateDict::place_of(const std::string& name) const {
  const auto found = places_.find(name);
  if (found == places_.end()) throw UserError("'" + archive_.path().string() + "': holds no tensor " + in_quotes(name));
  return found->second;
}

const TensorInfo& TorchStateDict::info(const std::string& name) const {
  return tensors_[place_of(name).info];
}
at::Tensor TorchStateDict::read(const std::string& name) const {
  return archive_.read(archive_.tensors()[place_of(name).tensor]);
}

NamedTensors load_torch_state_dict(const std::filesystem::path& path) {
  const TorchStateDict dict(path);
  NamedTensors tensors;
  for (const auto& entry : dict.tensors()) tensors.emplace(entry.name, dict.read(entry.name));
  return tensors;
}

}  // namespace blip2
