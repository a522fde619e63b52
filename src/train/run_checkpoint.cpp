#include "blip2/train/run_checkpoint.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "blip2/checkpoint/state_file.h"
#include "blip2/core/atomic_file.h"
#include "blip2/core/atomic_folder.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kStateFile = "train_state.safetensors";
constexpr const char* kConfigFile = "config.json";
constexpr const char* kKeptPrefix = "checkpoint-";

// Keys that change what is shown, saved or how fast, but not what is trained.
const std::set<std::string>& harmless_keys() {
  static const std::set<std::string> keys = {
      "log_every", "validate_every", "checkpoint_every", "keep_checkpoints", "max_skipped_steps",
      "threads",   "workers",        "prefetch_batches", "cache_megabytes",  "activation_checkpointing"};
  return keys;
}

void add_with_prefix(NamedTensors& all, const std::string& prefix, const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) all.emplace(prefix + name, tensor);
}

NamedTensors take_prefix(const NamedTensors& all, const std::string& prefix) {
  NamedTensors tensors;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(prefix)) tensors.emplace(name.substr(prefix.size()), tensor);
  }
  return tensors;
}

std::int64_t take_count(const nlohmann::json& values, const char* name, const fs::path& file) {
  const auto found = values.find(name);
  if (found == values.end() || !found->is_number_integer() || found->get<std::int64_t>() < 0) {
    throw UserError("'" + file.string() + "' must hold a count '" + name +
                    "': it is not the state of a run, start over with --fresh --overwrite");
  }
  return found->get<std::int64_t>();
}

[[noreturn]] void refuse_disk(const fs::filesystem_error& error) {
  throw WorldError("cannot change '" + error.path1().string() + "': " + error.code().message());
}

std::int64_t kept_step(const fs::path& folder) {
  const std::string name = folder.filename().string();
  const std::string prefix = kKeptPrefix;
  if (!name.starts_with(prefix)) return -1;
  std::int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data() + prefix.size(), end, step);
  return error == std::errc() && stopped == end ? step : -1;
}

std::vector<fs::path> kept_checkpoints(const fs::path& output) {
  std::vector<fs::path> kept;
  for (const auto& entry : fs::directory_iterator(output)) {
    if (entry.is_directory() && kept_step(entry.path()) >= 0) kept.push_back(entry.path());
  }
  std::sort(kept.begin(), kept.end(), [](const fs::path& a, const fs::path& b) { return kept_step(a) < kept_step(b); });
  return kept;
}

// Files of a checkpoint are replaced and never changed, so a second name is as good as a copy and costs nothing.
void keep_checkpoint(const fs::path& output, std::int64_t step, std::int64_t keep) {
  AtomicFolder folder(output / (kKeptPrefix + std::to_string(step)));
  for (const auto& entry : fs::directory_iterator(checkpoint_folder(output))) {
    std::error_code no_links;
    fs::create_hard_link(entry.path(), folder.path() / entry.path().filename(), no_links);
    if (no_links) fs::copy_file(entry.path(), folder.path() / entry.path().filename());
  }
  folder.commit();
  const auto kept = kept_checkpoints(output);
  // The last one is this one.
  for (std::size_t i = 0; i + 1 + static_cast<std::size_t>(keep) < kept.size(); ++i) fs::remove_all(kept[i]);
}

/** A member of an object, or null. */
nlohmann::json member(const nlohmann::json& object, const std::string& key) {
  return object.is_object() ? object.value(key, nlohmann::json()) : nlohmann::json();
}

void find_differences(const nlohmann::json& stored, const nlohmann::json& current, const nlohmann::json& defaults,
                      const std::string& path, std::vector<std::string>& differences) {
  if (stored == current) return;
  if (!stored.is_object() || !current.is_object()) {
    differences.push_back("'" + path + "' was " + stored.dump() + " and is now " + current.dump());
    return;
  }
  std::set<std::string> keys;
  for (const auto* object : {&stored, &current}) {
    for (const auto& [key, value] : object->items()) keys.insert(key);
  }
  for (const auto& key : keys) {
    if (harmless_keys().contains(key)) continue;
    const nlohmann::json usual = member(defaults, key);
    find_differences(stored.value(key, usual), member(current, key), usual, path.empty() ? key : path + "." + key,
                     differences);
  }
}

}  // namespace

fs::path checkpoint_folder(const fs::path& output) {
  return output / "checkpoint";
}

void save_run_checkpoint(const fs::path& output, const RunState& state, const nlohmann::json& config,
                         std::int64_t keep) {
  const nlohmann::json values = {{"step", state.step},
                                 {"skipped", state.skipped},
                                 {"skipped_in_row", state.skipped_in_row},
                                 {"row_began", state.row_began},
                                 {"loss_scale", state.loss_scale},
                                 {"steps_without_overflow", state.steps_without_overflow}};
  NamedTensors rest;
  add_with_prefix(rest, "optimizer.", state.optimizer);
  add_with_prefix(rest, "task.", state.task);
  add_with_prefix(rest, "random.", state.random);
  try {
    fs::create_directories(output);
    AtomicFolder folder(checkpoint_folder(output));
    save_safetensors(state.parameters, folder.path() / kModelFile);
    save_state(folder.path() / kStateFile, rest, values);
    write_file_atomically(folder.path() / kConfigFile, config.dump(2) + "\n");
    folder.commit();
    if (keep > 0) keep_checkpoint(output, state.step, keep);
  } catch (const fs::filesystem_error& error) {
    refuse_disk(error);
  }
}

bool has_run_checkpoint(const fs::path& output) {
  std::error_code ignored;
  return fs::exists(current_folder(checkpoint_folder(output)) / kConfigFile, ignored);
}

nlohmann::json load_run_config(const fs::path& output) {
  return load_json(current_folder(checkpoint_folder(output)) / kConfigFile);
}

RunState load_run_checkpoint(const fs::path& output) {
  const auto folder = current_folder(checkpoint_folder(output));
  const auto [rest, values] = load_state(folder / kStateFile);
  RunState state;
  state.step = take_count(values, "step", folder / kStateFile);
  state.skipped = take_count(values, "skipped", folder / kStateFile);
  state.skipped_in_row = take_count(values, "skipped_in_row", folder / kStateFile);
  // Runs from before there was float16 have none of these: their rows had no other steps in between.
  if (values.contains("row_began")) {
    state.row_began = take_count(values, "row_began", folder / kStateFile);
  } else if (state.skipped_in_row > 0) {
    state.row_began = state.step - state.skipped_in_row + 1;
  }
  if (values.contains("loss_scale")) {
    if (!values.at("loss_scale").is_number() || !(values.at("loss_scale").get<double>() > 0)) {
      throw UserError("'" + (folder / kStateFile).string() +
                      "' must hold a positive number 'loss_scale': it is not the state of a run, start over with "
                      "--fresh --overwrite");
    }
    state.loss_scale = values.at("loss_scale").get<double>();
    state.steps_without_overflow = take_count(values, "steps_without_overflow", folder / kStateFile);
  }
  state.parameters = load_safetensors(folder / kModelFile);
  state.optimizer = take_prefix(rest, "optimizer.");
  state.task = take_prefix(rest, "task.");
  state.random = take_prefix(rest, "random.");
  return state;
}

void remove_unfinished_checkpoints(const fs::path& output) noexcept {
  remove_leftovers(checkpoint_folder(output));
  std::error_code error;
  for (fs::directory_iterator entry(output, error), end; !error && entry != end; entry.increment(error)) {
    // checkpoint-120.partial-4711 belongs to checkpoint-120
    const fs::path target = entry->path().parent_path() / entry->path().stem();
    if (kept_step(target) >= 0 && entry->path().has_extension()) remove_leftovers(target);
  }
}

void remove_run(const fs::path& output) {
  try {
    if (!fs::exists(output)) return;
    // A folder called tokenizer where no run was is somebody else's.
    const bool holds_a_run = has_run_checkpoint(output);
    for (const auto& kept : kept_checkpoints(output)) fs::remove_all(kept);
    fs::remove(output / "log.jsonl");
    fs::remove_all(current_folder(checkpoint_folder(output)));
    if (holds_a_run) fs::remove_all(output / "tokenizer");
  } catch (const fs::filesystem_error& error) {
    refuse_disk(error);
  }
}

void check_same_config(const nlohmann::json& stored, const nlohmann::json& current, const nlohmann::json& defaults,
                       const fs::path& output) {
  std::vector<std::string> differences;
  find_differences(stored, current, defaults, "", differences);
  if (differences.empty()) return;
  std::string list;
  for (const auto& difference : differences) list += (list.empty() ? "" : ", ") + difference;
  throw UserError("the run in '" + output.string() + "' was started with another config (" + list +
                  "): restore the old values to resume it, choose another output folder, or start over with --fresh "
                  "--overwrite");
}

}  // namespace blip2
