// Any bytes as a torch.save file: they are read, or refused with a UserError, and nothing else happens.
//   build-fuzz/bin/fuzz_torch_archive NEW_CORPUS tests/data/checkpoint/torch_bad
#include "blip2/checkpoint/torch_archive.h"
#include "blip2/core/error.h"
#include "memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto path = blip2::memory_file(data, size);
    const blip2::TorchArchive archive(path);
    for (const auto& tensor : archive.tensors()) archive.read(tensor);
    blip2::load_torch_state_dict(path);
  } catch (const blip2::UserError&) {
  }
  return 0;
}
