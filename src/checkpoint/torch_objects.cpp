// The list of names is the whole of what a file may ask for: what is not on it is refused, never looked up.
#include "checkpoint/torch_objects.h"

#include <algorithm>
#include <limits>

#include "blip2/core/error.h"
#include "checkpoint/dtype_names.h"
#include "core/in_quotes.h"
#include "core/shape_text.h"

namespace blip2 {
namespace {

using Kind = PickleValue::Kind;

constexpr std::size_t kLargestRank = 64;  // LibTorch's own limit in most kernels
// Of keys and devices: what is copied at each use must be small, as the pickle can use it a million times.
constexpr std::size_t kLongestName = 100;
constexpr std::size_t kMostTensors = 500'000;
constexpr std::uint64_t kLargestCount = std::numeric_limits<std::int64_t>::max();

enum class Meaning { kOrderedDict, kRebuildTensor, kRebuildTypedTensor, kRebuildParameter, kSize, kDevice, kStorage };

struct KnownName {
  const char* module;
  const char* name;
  Meaning meaning;
  at::ScalarType dtype = at::ScalarType::Undefined;  // of a storage; undefined: bytes
};

const std::vector<KnownName>& known_names() {
  static const std::vector<KnownName> names = [] {
    std::vector<KnownName> all{{"collections", "OrderedDict", Meaning::kOrderedDict},
                               {"torch._utils", "_rebuild_tensor_v2", Meaning::kRebuildTensor},
                               {"torch._utils", "_rebuild_tensor_v3", Meaning::kRebuildTypedTensor},
                               {"torch._utils", "_rebuild_parameter", Meaning::kRebuildParameter},
                               {"torch", "Size", Meaning::kSize},
                               {"torch", "device", Meaning::kDevice},
                               {"torch", "UntypedStorage", Meaning::kStorage},
                               {"torch.storage", "UntypedStorage", Meaning::kStorage}};
    for (const DtypeNames& dtype : kDtypeNames) {
      if (dtype.storage != nullptr) all.push_back({"torch", dtype.storage, Meaning::kStorage, dtype.dtype});
    }
    return all;
  }();
  return names;
}

// Argument `index` where it is of that kind, else null.
const PickleValue* argument(const PickleValue& list, std::size_t index, Kind kind, const PickleValues& values) {
  if (index >= list.items.size()) return nullptr;
  const PickleValue& value = values[list.items[index]];
  return value.kind == kind ? &value : nullptr;
}

// The integers of argument `index`; nothing where it is not a tuple of them.
std::optional<std::vector<std::int64_t>> integers(const PickleValue& list, std::size_t index,
                                                  const PickleValues& values) {
  const PickleValue* tuple = argument(list, index, Kind::kTuple, values);
  if (tuple == nullptr) return std::nullopt;
  std::vector<std::int64_t> numbers;
  for (const PickleId item : tuple->items) {
    if (values[item].kind != Kind::kInteger) return std::nullopt;
    numbers.push_back(values[item].integer);
  }
  return numbers;
}

// Names are dtypes and devices.
std::optional<at::ScalarType> dtype_of(const PickleValue& name) {
  const std::string_view text = name.text, module = "torch.";
  return text.starts_with(module) ? dtype_named(text.substr(module.size())) : std::nullopt;
}

std::string shown(const StoredElements& storage) {
  return "storage " + in_quotes(storage.key);
}

// "" where the tensor lies within its storage, otherwise the rule that it breaks; sets `reach`.
std::string misfit(TensorView& tensor, std::uint64_t available) {
  if (tensor.shape.size() != tensor.strides.size()) {
    return "has " + std::to_string(tensor.shape.size()) + " dimensions and " + std::to_string(tensor.strides.size()) +
           " strides";
  }
  if (tensor.shape.size() > kLargestRank) return "has more than 64 dimensions";
  const auto negative = [](std::int64_t number) { return number < 0; };
  if (std::any_of(tensor.shape.begin(), tensor.shape.end(), negative)) return "has a negative size";
  if (std::any_of(tensor.strides.begin(), tensor.strides.end(), negative)) return "has a negative stride";
  // Bytes, where a zero among the sizes does not excuse an overflow of the others.
  std::uint64_t count = 1, product = c10::elementSize(tensor.dtype), last = 0;
  bool overflows = false;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    const auto size = static_cast<std::uint64_t>(tensor.shape[i]),
               stride = static_cast<std::uint64_t>(tensor.strides[i]);
    std::uint64_t step = 0;
    count *= size;
    overflows |= __builtin_mul_overflow(product, std::max<std::uint64_t>(size, 1), &product);
    overflows |= __builtin_mul_overflow(size > 0 ? size - 1 : 0, stride, &step);
    overflows |= __builtin_add_overflow(last, step, &last);
    overflows |= product > kLargestCount || last > kLargestCount;
    if (overflows) return "has sizes or strides whose product overflows 63 bits";
  }
  if (count == 0) {
    tensor.reach = 0;
    return tensor.offset > available ? "begins behind its end" : "";
  }
  if (tensor.offset >= available || last >= available - tensor.offset) {
    return "needs " + std::to_string(last + 1) + " elements from " + std::to_string(tensor.offset) +
           ", the storage holds " + std::to_string(available);
  }
  tensor.reach = last + 1;
  // Stride 0 repeats elements: twenty bytes of file could ask for all memory.
  if (count > available) return "repeats elements until they outnumber the storage: save a contiguous copy";
  return "";
}

}  // namespace

void TorchObjects::refuse(const std::string& rule) const {
  throw UserError("'" + file_ + "': not a valid PyTorch file: " + rule);
}

PickleValue TorchObjects::global(const std::string& module, const std::string& name) {
  const std::vector<KnownName>& known = known_names();
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (module == known[i].module && name == known[i].name) {
      return {.kind = Kind::kGlobal, .integer = static_cast<std::int64_t>(i)};
    }
  }
  if (module == "torch" && dtype_named(name)) return {.kind = Kind::kName, .text = "torch." + name};
  throw UserError("'" + file_ + "': its pickle names " + in_quotes(module + "." + name) +
                  ", but only tensors, numbers, texts, lists and dicts are read and nothing in a file is ever run: "
                  "save the state dict alone");
}

PickleValue TorchObjects::call(const PickleValue& callable, const PickleValue& arguments, const PickleValues& values) {
  if (callable.kind != Kind::kGlobal) refuse("the pickle calls " + std::string(described(callable.kind)));
  if (arguments.kind != Kind::kTuple)
    refuse("the pickle passes " + std::string(described(arguments.kind)) + " to a call");
  const KnownName& known = known_names()[static_cast<std::size_t>(callable.integer)];
  switch (known.meaning) {
    case Meaning::kOrderedDict:
      if (arguments.items.empty()) return {.kind = Kind::kDict};
      break;
    case Meaning::kRebuildTensor:
      return rebuild_tensor(arguments, values, false);
    case Meaning::kRebuildTypedTensor:
      return rebuild_tensor(arguments, values, true);
    case Meaning::kRebuildParameter:
      if (const auto* tensor = argument(arguments, 0, Kind::kTensor, values); tensor && arguments.items.size() == 3) {
        return *tensor;
      }
      break;
    case Meaning::kSize:
      if (arguments.items.size() == 1) {
        const auto* sizes = argument(arguments, 0, Kind::kTuple, values);
        if (sizes && sizes->items.size() <= kLargestRank) return *sizes;
      }
      break;
    case Meaning::kDevice:
      if (const auto* device = argument(arguments, 0, Kind::kText, values);
          device && device->text.size() <= kLongestName) {
        return {.kind = Kind::kName, .text = device->text};
      }
      break;
    case Meaning::kStorage:
      break;
  }
  refuse("the pickle calls '" + std::string(known.module) + "." + known.name +
         "' with arguments that torch.save never "
         "writes");
}

// ('storage', type, key, device, count), in the older form with a sixth item that has been None since 2017.
PickleValue TorchObjects::persistent(const PickleValue& id, const PickleValues& values) {
  const auto* kind = id.kind == Kind::kTuple ? argument(id, 0, Kind::kText, values) : nullptr;
  const auto* type = argument(id, 1, Kind::kGlobal, values);
  const auto* key = argument(id, 2, Kind::kText, values);
  const auto* count = argument(id, 4, Kind::kInteger, values);
  const bool is_whole = id.items.size() == 5 || (id.items.size() == 6 && argument(id, 5, Kind::kNone, values));
  if (!kind || kind->text != "storage" || !type || !key || !count || !is_whole) {
    refuse("the pickle describes a storage otherwise than torch.save does");
  }
  if (key->text.size() > kLongestName) refuse("a storage has a name of more than 100 letters");
  const KnownName& known = known_names()[static_cast<std::size_t>(type->integer)];
  if (known.meaning != Meaning::kStorage) refuse("the type of storage " + in_quotes(key->text) + " is no storage");
  StoredElements storage{.key = key->text};
  if (known.dtype != at::ScalarType::Undefined) storage.dtype = known.dtype;
  if (count->integer < 0) refuse(shown(storage) + " has a negative size " + std::to_string(count->integer));
  storage.count = static_cast<std::uint64_t>(count->integer);
  const std::uint64_t width = storage.dtype ? c10::elementSize(*storage.dtype) : 1;
  if (storage.count > kLargestCount / width) refuse("the size of " + shown(storage) + " overflows 63 bits");
  storage.bytes = storage.count * width;
  const auto [place, is_new] = storage_of_.emplace(storage.key, storages_.size());
  if (is_new) {
    storages_.push_back(std::move(storage));
  } else if (storages_[place->second].dtype != storage.dtype || storages_[place->second].count != storage.count) {
    refuse(shown(storage) + " appears with two types or sizes");
  }
  return {.kind = Kind::kStorage, .integer = static_cast<std::int64_t>(place->second)};
}

// (storage, offset, size, strides, requires_grad, hooks[, dtype][, metadata])
PickleValue TorchObjects::rebuild_tensor(const PickleValue& arguments, const PickleValues& values, bool names_dtype) {
  const auto* stored = argument(arguments, 0, Kind::kStorage, values);
  const auto* offset = argument(arguments, 1, Kind::kInteger, values);
  auto shape = integers(arguments, 2, values), strides = integers(arguments, 3, values);
  const auto* dtype = names_dtype ? argument(arguments, 6, Kind::kName, values) : nullptr;
  const std::size_t fewest = names_dtype ? 7 : 6, given = arguments.items.size();
  // The metadata marks conjugate and negative views, whose elements are not what is stored.
  const bool is_plain = given == fewest || (given == fewest + 1 && values[arguments.items[fewest]].items.empty());
  if (!stored || !offset || !shape || !strides || (names_dtype && !dtype) || !is_plain) {
    refuse("the pickle describes a tensor otherwise than torch.save does");
  }
  TensorView tensor{.storage = static_cast<std::size_t>(stored->integer)};
  const StoredElements& storage = storages_[tensor.storage];
  const auto named = names_dtype ? dtype_of(*dtype) : storage.dtype;
  if (!named || (storage.dtype && *storage.dtype != *named)) {
    refuse("a tensor and its " + shown(storage) + " do not have one dtype");
  }
  tensor.dtype = *named;
  tensor.shape = std::move(*shape);
  tensor.strides = std::move(*strides);
  tensor.offset = static_cast<std::uint64_t>(offset->integer);
  const std::string rule = offset->integer < 0 ? "has a negative offset " + std::to_string(offset->integer)
                                               : misfit(tensor, storage.bytes / c10::elementSize(tensor.dtype));
  if (!rule.empty()) refuse("a tensor of shape " + shape_text(tensor.shape) + " over " + shown(storage) + " " + rule);
  if (tensors_.size() == kMostTensors) refuse("it holds more than " + std::to_string(kMostTensors) + " tensors");
  tensors_.push_back(std::move(tensor));
  return {.kind = Kind::kTensor, .integer = static_cast<std::int64_t>(tensors_.size() - 1)};
}

StoredElements* TorchObjects::find_storage(const std::string& key) {
  const auto found = storage_of_.find(key);
  return found == storage_of_.end() ? nullptr : &storages_[found->second];
}

}  // namespace blip2
