// The container is left to LibTorch's own writer: the same alignment, checksums and zip64 as torch.save's.
#include "blip2/checkpoint/torch_writer.h"

#include <caffe2/serialize/inline_container.h>

#include <exception>
#include <nlohmann/json.hpp>
#include <tuple>
#include <vector>

#include "blip2/core/atomic_file.h"
#include "blip2/core/error.h"
#include "checkpoint/pickle_writer.h"
#include "core/in_quotes.h"

namespace blip2 {
namespace {

bool is_utf8(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

/** The data of the file: tensors of one dtype over the same memory are one storage. */
class Storages {
 public:
  /** The key of the storage that holds `tensor`. */
  std::string key_of(const at::Tensor& tensor) {
    const bool in_place = tensor.is_contiguous() && !tensor.is_neg() && tensor.nbytes() > 0;
    if (!in_place) return add(tensor);
    const auto identity = std::tuple(tensor.const_data_ptr(), tensor.nbytes(), tensor.scalar_type());
    const auto found = known_.find(identity);
    return found != known_.end() ? found->second : known_[identity] = add(tensor);
  }

  const std::vector<at::Tensor>& tensors() const { return tensors_; }

 private:
  std::string add(const at::Tensor& tensor) {
    tensors_.push_back(tensor);
    return std::to_string(tensors_.size() - 1);
  }

  std::vector<at::Tensor> tensors_;
  std::map<std::tuple<const void*, std::size_t, at::ScalarType>, std::string> known_;
};

std::string pickle_of(const NamedTensors& tensors, const std::string& section, Storages& storages,
                      const std::string& file) {
  PickleWriter pickle;
  if (!section.empty()) {
    pickle.begin_dict();
    pickle.text(section);
  }
  pickle.begin_dict();
  for (const auto& [name, tensor] : tensors) {
    TORCH_CHECK(tensor.defined(), "save_torch_archive: tensor ", in_quotes(name), " is undefined");
    TORCH_CHECK(tensor.layout() == at::kStrided, "save_torch_archive: tensor ", in_quotes(name), " is not dense");
    if (!is_utf8(name))
      throw UserError("cannot write '" + file + "': the tensor name " + in_quotes(name) + " is not valid UTF-8");
    pickle.text(name);
    pickle.tensor(storages.key_of(tensor), tensor.scalar_type(), tensor.sizes());
  }
  pickle.end_dict();
  if (!section.empty()) pickle.end_dict();
  return pickle.finish();
}

/** Puts a zip into a file. The zip writer completes itself in its destructor, so no failure may reach it. */
class ZipSink {
 public:
  explicit ZipSink(ByteSink& sink) : sink_(sink) {}

  std::size_t write(const void* data, std::size_t size) noexcept {
    if (failure_) return size;
    try {
      sink_.write(data, size);
    } catch (...) {
      failure_ = std::current_exception();
    }
    return size;
  }

  void rethrow_failure() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  ByteSink& sink_;
  std::exception_ptr failure_;
};

void write_zip(ByteSink& file, const std::string& pickle, const Storages& storages) {
  ZipSink sink(file);
  caffe2::serialize::PyTorchStreamWriter zip(
      [&sink](const void* data, std::size_t size) { return sink.write(data, size); });
  zip.writeRecord("data.pkl", pickle.data(), pickle.size());
  constexpr std::string_view kByteOrder = "little";
  zip.writeRecord("byteorder", kByteOrder.data(), kByteOrder.size());
  for (std::size_t i = 0; i < storages.tensors().size(); ++i) {
    const at::Tensor data = storages.tensors()[i].detach().cpu().resolve_neg().contiguous();
    zip.writeRecord("data/" + std::to_string(i), data.const_data_ptr(), data.nbytes());
    sink.rethrow_failure();
  }
  zip.writeEndOfFile();
  sink.rethrow_failure();
}

}  // namespace

void save_torch_archive(const NamedTensors& tensors, const std::filesystem::path& path, const std::string& section) {
  Storages storages;
  const std::string pickle = pickle_of(tensors, section, storages, path.string());
  write_file_atomically(path, [&](ByteSink& file) { write_zip(file, pickle, storages); });
}

}  // namespace blip2
