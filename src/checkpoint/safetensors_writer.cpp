// Writes the container in the reference's layout: wide dtypes first, then by name, so that every tensor is aligned.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "blip2/checkpoint/safetensors.h"
#include "blip2/core/atomic_file.h"
#include "blip2/core/error.h"
#include "checkpoint/dtype_names.h"
#include "checkpoint/safetensors_header.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

using Entry = NamedTensors::value_type;

void check(const Entry& entry) {
  const auto& [name, tensor] = entry;
  TORCH_CHECK(tensor.defined(), "save_safetensors: tensor ", in_quotes(name), " is undefined");
  TORCH_CHECK(tensor.layout() == at::kStrided, "save_safetensors: tensor ", in_quotes(name), " is not dense");
  // Only what every reader knows: the dtypes that torch.save has had a class for all along.
  const DtypeNames* names = names_of(tensor.scalar_type());
  TORCH_CHECK(names != nullptr && names->storage != nullptr, "save_safetensors: tensor ", in_quotes(name),
              " has dtype ", tensor.scalar_type(), ", which is not written: convert it first");
}

std::vector<const Entry*> in_file_order(const NamedTensors& tensors) {
  std::vector<const Entry*> order;
  for (const auto& entry : tensors) {
    check(entry);
    order.push_back(&entry);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const Entry* a, const Entry* b) { return a->second.element_size() > b->second.element_size(); });
  return order;
}

std::string header_text(const std::vector<const Entry*>& order, std::map<std::string, std::string> metadata,
                        const std::string& file) {
  metadata["format"] = "pt";
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  std::uint64_t begin = 0;
  for (const Entry* entry : order) {
    const auto& [name, tensor] = *entry;
    if (name == "__metadata__")
      throw UserError("'" + file + "': '__metadata__' is not allowed as the name of a tensor");
    const std::uint64_t end = begin + tensor.nbytes();
    // push_back of a pair keeps the order and does not search: linear in the number of tensors.
    header.get_ref<nlohmann::ordered_json::object_t&>().emplace_back(
        name, nlohmann::ordered_json{{"dtype", names_of(tensor.scalar_type())->safetensors},
                                     {"shape", tensor.sizes().vec()},
                                     {"data_offsets", {begin, end}}});
    begin = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::type_error&) {
    throw UserError("cannot write '" + file + "': a tensor name or metadata string is not valid UTF-8");
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > kLargestSafetensorsHeader) {
    throw UserError("cannot write '" + file + "': its header would exceed 100 MB, the format's limit");
  }
  return text;
}

}  // namespace

void save_safetensors(const NamedTensors& tensors, const std::filesystem::path& path,
                      const std::map<std::string, std::string>& metadata) {
  const auto order = in_file_order(tensors);
  const std::string text = header_text(order, metadata, path.string());
  write_file_atomically(path, [&](ByteSink& sink) {
    const std::uint64_t length = text.size();
    sink.write(&length, sizeof(length));
    sink.write(text);
    for (const Entry* entry : order) {
      const at::Tensor tensor = entry->second.detach().cpu().resolve_neg().contiguous();
      sink.write(tensor.const_data_ptr(), tensor.nbytes());
    }
  });
}

}  // namespace blip2
