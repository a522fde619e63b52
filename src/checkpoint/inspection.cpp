// A file of any format becomes one tree of entries; text and JSON are two ways to print it.
#include "blip2/checkpoint/inspection.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "blip2/checkpoint/hugging_face.h"
#include "blip2/checkpoint/torch_archive.h"
#include "blip2/core/error.h"
#include "checkpoint/dtype_names.h"
#include "checkpoint/read_only_file.h"
#include "core/shape_text.h"

namespace blip2 {
namespace {

using nlohmann::json;
using Kind = TorchValue::Kind;

std::uint64_t parameters_of(const TensorInfo& tensor) {
  std::uint64_t count = 1;
  for (const std::int64_t size : tensor.shape) count *= static_cast<std::uint64_t>(size);
  return count;
}

std::uint64_t bytes_of(const TensorInfo& tensor) {
  return parameters_of(tensor) * c10::elementSize(tensor.dtype);
}

void add(Inspection& inspection, const TensorInfo& tensor) {
  ++inspection.tensors;
  inspection.parameters += parameters_of(tensor);
  inspection.bytes += bytes_of(tensor);
}

json plain_value(const TorchValue& value) {
  switch (value.kind) {
    case Kind::kBool:
      return value.integer != 0;
    case Kind::kInteger:
      return value.integer;
    case Kind::kReal:
      // JSON knows neither of them.
      if (std::isnan(value.real)) return "nan";
      if (std::isinf(value.real)) return value.real > 0 ? "inf" : "-inf";
      return value.real;
    case Kind::kText:
    case Kind::kName:
      return value.text;
    default:
      return nullptr;
  }
}

InspectedEntry entry_of(std::string name, const TorchValue& value, const TorchArchive& archive, Inspection& totals) {
  InspectedEntry entry{.name = std::move(name)};
  if (value.kind == Kind::kTensor) {
    const TorchTensor& tensor = archive.tensors()[static_cast<std::size_t>(value.integer)];
    entry.tensor = TensorInfo{entry.name, tensor.dtype, tensor.shape, tensor.begin, tensor.end};
    add(totals, *entry.tensor);
    return entry;
  }
  if (value.kind != Kind::kDict && value.kind != Kind::kList && value.kind != Kind::kTuple) {
    entry.value = plain_value(value);
    return entry;
  }
  entry.container = value.kind == Kind::kDict ? "dict" : value.kind == Kind::kList ? "list" : "tuple";
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    std::string key = std::to_string(i);
    if (value.kind == Kind::kDict) {
      key = value.keys[i].kind == Kind::kText ? value.keys[i].text : std::to_string(value.keys[i].integer);
    }
    entry.contents.push_back(entry_of(std::move(key), value.items[i], archive, totals));
  }
  return entry;
}

Inspection inspect_torch(const std::filesystem::path& path) {
  const TorchArchive archive(path);
  Inspection inspection;
  inspection.format = archive.is_zip() ? "PyTorch" : "PyTorch before 1.6";
  InspectedEntry root = entry_of("", archive.content(), archive, inspection);
  if (root.container == "dict") {
    inspection.entries = std::move(root.contents);
  } else {
    inspection.entries.push_back(std::move(root));
  }
  return inspection;
}

Inspection inspect_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  Inspection inspection;
  inspection.format = "safetensors";
  inspection.metadata = file.metadata();
  for (const TensorInfo& tensor : file.tensors()) {
    add(inspection, tensor);
    inspection.entries.push_back({.name = tensor.name, .tensor = tensor});
  }
  return inspection;
}

Inspection inspect_folder(const std::filesystem::path& path) {
  const ModelTensors tensors(path);
  Inspection inspection;
  inspection.format = "Hugging Face folder";
  for (const std::string& name : tensors.names()) {
    add(inspection, tensors.info(name));
    inspection.entries.push_back({.name = name, .tensor = tensors.info(name), .file = tensors.file_of(name)});
  }
  return inspection;
}

// The header of a safetensors file is JSON behind a length of 8 bytes.
bool looks_like_safetensors(const std::filesystem::path& path) {
  const ReadOnlyFile file(path);
  std::string start(std::min<std::uint64_t>(file.size(), 9), '\0');
  file.read(0, start.data(), start.size());
  return !start.starts_with("PK") && (path.extension() == ".safetensors" || (start.size() == 9 && start[8] == '{'));
}

// One line whatever the text holds.
std::string escaped(const std::string& text) {
  const std::string quoted = json(text).dump(-1, ' ', false, json::error_handler_t::replace);
  return quoted.substr(1, quoted.size() - 2);
}

void append_lines(const InspectedEntry& entry, std::size_t depth, std::string& text) {
  text += std::string(2 * depth, ' ') + (entry.name.empty() ? "(unnamed)" : escaped(entry.name)) + "  ";
  if (entry.tensor) {
    text += dtype_name(entry.tensor->dtype) + " " + shape_text(entry.tensor->shape);
    if (!entry.file.empty()) text += "  " + escaped(entry.file);
  } else if (!entry.container.empty()) {
    text += entry.container + " of " + std::to_string(entry.contents.size());
  } else {
    text += entry.value.dump(-1, ' ', false, json::error_handler_t::replace);
  }
  text += "\n";
  for (const InspectedEntry& inner : entry.contents) append_lines(inner, depth + 1, text);
}

json entries_json(const std::vector<InspectedEntry>& entries) {
  json list = json::array();
  for (const InspectedEntry& entry : entries) {
    json object{{"name", entry.name}};
    if (entry.tensor) {
      object["dtype"] = dtype_name(entry.tensor->dtype);
      object["shape"] = entry.tensor->shape;
      object["bytes"] = bytes_of(*entry.tensor);
      if (!entry.file.empty()) object["file"] = entry.file;
    } else if (!entry.container.empty()) {
      object["container"] = entry.container;
      object["entries"] = entries_json(entry.contents);
    } else {
      object["value"] = entry.value;
    }
    list.push_back(std::move(object));
  }
  return list;
}

/** "1 tensor", "2 tensors" */
template <typename Count>
std::string counted(Count count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

}  // namespace

Inspection inspect_weights(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return inspect_folder(path);
  return looks_like_safetensors(path) ? inspect_safetensors(path) : inspect_torch(path);
}

std::string inspection_text(const Inspection& inspection) {
  std::string text;
  for (const InspectedEntry& entry : inspection.entries) append_lines(entry, 0, text);
  for (const auto& [key, value] : inspection.metadata)
    text += "metadata " + escaped(key) + ": " + escaped(value) + "\n";
  return text + inspection.format + ": " + counted(inspection.tensors, "tensor") + ", " +
         counted(inspection.parameters, "parameter") + ", " + counted(inspection.bytes, "byte") + "\n";
}

json inspection_json(const Inspection& inspection) {
  return {{"format", inspection.format},
          {"metadata", inspection.metadata},
          {"entries", entries_json(inspection.entries)},
          {"tensors", inspection.tensors},
          {"parameters", inspection.parameters},
          {"bytes", inspection.bytes}};
}

}  // namespace blip2
