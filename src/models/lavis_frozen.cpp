#include "models/lavis_frozen.h"

#include <charconv>

#include "blip2/core/error.h"
#include "blip2/models/lora_adapter.h"
#include "blip2/models/run_folder.h"
#include "core/in_quotes.h"
#include "models/lavis_files.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr const char *kVision = "vision_model.", *kNorm = "vision_model.post_layernorm.",
                     *kLanguage = "language_model.";

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

}  // namespace

bool is_frozen_part(const std::string& name) {
  return name.starts_with(kLanguage) || (name.starts_with(kVision) && !name.starts_with(kNorm));
}

void refuse_adapter(const fs::path& folder) {
  for (const fs::path& place : {folder, weights_folder(folder)}) {
    if (!LoraAdapter::is_in(place)) continue;
    throw UserError("'" + place.string() +
                    "' holds an adapter, which LAVIS does not know: merge it into the weights or take it out first");
  }
}

bool is_unused_block(const std::string& name, std::int64_t blocks, const std::string& file) {
  constexpr std::string_view kLayers = "vision_model.encoder.layers.";
  if (!name.starts_with(kLayers)) return false;
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(name.data() + kLayers.size(), name.data() + name.size(), number);
  if (parsed.ec == std::errc::invalid_argument) return false;  // no number: nothing knows the name
  const auto behind = static_cast<std::uint64_t>(blocks);
  if (parsed.ec == std::errc() && number <= behind) return number == behind;
  throw UserError("'" + file + "' has an image encoder of more blocks than the model: " + in_quotes(name) +
                  ", expected " + std::to_string(blocks) + " (num_hidden_layers) or one more, which is not used");
}

FrozenParts::FrozenParts(const LavisSources& sources, LavisModel model) : vision_(sources.vision) {
  if (is_folder(vision_)) {
    refuse_adapter(vision_);
    vision_folder_.emplace(weights_folder(vision_));
  } else if (!vision_.empty()) {
    vision_file_ = from_lavis(load_lavis_tensors(vision_), vision_.string()).tensors;
  }
  if (!sources.language_model.empty()) {
    refuse_adapter(sources.language_model);
    language_.emplace(weights_folder(sources.language_model));
  }
  if (!sources.like.empty() && model != LavisModel::kImageEncoder) {
    refuse_adapter(sources.like);
    like_.emplace(sources.like);
  }
}

void FrozenParts::adapt(LanguageModelOptions& options) {
  if (language_) {
    stored_ = adapt_to_tensors(options, *language_, "");
  } else if (like_) {
    stored_ = adapt_to_tensors(options, *like_, kLanguage);
  }
}

std::optional<at::Tensor> FrozenParts::find(const std::string& name) const {
  if (name.starts_with(kVision)) {
    if (const auto found = vision_file_.find(name); found != vision_file_.end()) return found->second;
    if (vision_folder_ && vision_folder_->contains(name)) return vision_folder_->read(name);
  }
  if (language_ && name.starts_with(kLanguage)) {
    const std::string inner = stored_name(name.substr(std::string_view(kLanguage).size()));
    if (language_->contains(inner)) return language_->read(inner);
  }
  const std::string outer = stored_name(name);
  if (like_ && like_->contains(outer)) return like_->read(outer);
  return std::nullopt;
}

bool FrozenParts::is_clip() const {
  const std::string name = "vision_model.pre_layrnorm.weight";
  return vision_file_.count(name) != 0 || (vision_folder_ && vision_folder_->contains(name));
}

void FrozenParts::check_blocks(std::int64_t blocks) const {
  for (const auto& entry : vision_file_) is_unused_block(entry.first, blocks, vision_.string());
  if (!vision_folder_) return;
  for (const auto& name : vision_folder_->names()) is_unused_block(name, blocks, vision_.string());
}

std::string FrozenParts::stored_name(const std::string& name) const {
  const auto found = stored_.stored_as.find(name);
  return found == stored_.stored_as.end() ? name : found->second;
}

}  // namespace blip2
