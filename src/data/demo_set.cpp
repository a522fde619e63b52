#include "blip2/data/demo_set.h"

#include <atomic>
#include <cstdio>
#include <exception>
#include <fstream>
#include <mutex>
#include <system_error>
#include <thread>

#include <nlohmann/json.hpp>

#include "blip2/core/atomic_file.h"
#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "core/file_system.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr int kPngCompression = 1;

/** Raised whenever scenes or captions are made otherwise, so that sets of the old kind are made again. */
constexpr int kFormat = 2;

struct Split {
  std::string name;
  std::uint64_t stream;
  std::vector<std::vector<std::int64_t>> scenes;
  bool shuffled;
};

std::string picture_name(const std::string& split, std::size_t index) {
  char number[32];
  std::snprintf(number, sizeof(number), "%05zu.png", index);
  return split + "/" + number;
}

/** Runs `work(index)` for every index below `count` on some threads; the first exception is thrown again here. */
void for_each_index(std::size_t count, std::int64_t threads, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto run = [&] {
    try {
      for (std::size_t index = next++; index < count; index = next++) work(index);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = count;
    }
  };
  std::vector<std::thread> workers;
  for (std::int64_t i = 1; i < threads; ++i) workers.emplace_back(run);
  run();
  for (auto& worker : workers) worker.join();
  if (failure) std::rethrow_exception(failure);
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw WorldError("cannot create the folder '" + folder.string() + "': " + error.message());
}

/** Not flushed to the disk one by one, which would take minutes, but together, before summary.json says "complete". */
void write_picture(const Image& image, const fs::path& file) {
  const auto bytes = encode_png(image, kPngCompression);
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (!stream) throw WorldError("cannot write '" + file.string() + "': the disk is full or the folder not writable");
}

void draw_split(const Split& split, const std::vector<StampPicture>& pictures, const DemoSetOptions& options,
                const fs::path& folder, std::int64_t threads) {
  make_folder(folder / split.name);
  for_each_index(split.scenes.size(), threads, [&](std::size_t index) {
    std::vector<const StampPicture*> stamps;
    for (const auto stamp : split.scenes[index]) stamps.push_back(&pictures[static_cast<std::size_t>(stamp)]);
    Random random({static_cast<std::uint64_t>(options.seed), split.stream, index});
    const Scene scene = compose_scene(stamps, options.scene, random);
    write_picture(scene.image, folder / picture_name(split.name, index));
  });
}

std::vector<std::string> captions_of(const Split& split, const std::vector<Stamp>& stamps, std::int64_t seed) {
  std::vector<std::string> captions;
  for (const auto& scene : split.scenes) {
    std::vector<std::string> objects;
    for (const auto stamp : scene) objects.push_back(stamps[static_cast<std::size_t>(stamp)].caption);
    captions.push_back(list_objects(objects));
  }
  if (split.shuffled) {
    Random random({static_cast<std::uint64_t>(seed), split.stream, ~std::uint64_t{0}});
    random.shuffle(captions);
  }
  return captions;
}

nlohmann::json annotations_of(const Split& split, const std::vector<std::string>& captions,
                              const std::vector<Stamp>& stamps, std::int64_t first_id) {
  auto annotations = nlohmann::json::array();
  for (std::size_t index = 0; index < split.scenes.size(); ++index) {
    auto objects = nlohmann::json::array();
    for (const auto stamp : split.scenes[index]) objects.push_back(stamps[static_cast<std::size_t>(stamp)].caption);
    annotations.push_back({{"image", picture_name(split.name, index)},
                           {"caption", captions[index]},
                           {"image_id", first_id + static_cast<std::int64_t>(index)},
                           {"objects", std::move(objects)}});
  }
  return annotations;
}

// One annotation a line: easy to look at and to compare.
std::string one_per_line(const nlohmann::json& list) {
  std::string text = "[";
  for (std::size_t i = 0; i < list.size(); ++i) text += (i == 0 ? "\n" : ",\n") + list[i].dump();
  return text + "\n]\n";
}

nlohmann::json summary_of(const std::vector<Stamp>& stamps, const DemoSetOptions& options) {
  auto list = nlohmann::json::array();
  for (const auto& stamp : stamps) list.push_back({{"name", stamp.name}, {"caption", stamp.caption}});
  return {{"format", kFormat},
          {"options", write_config(options)},
          {"pictures", {{"single", options.single}, {"train", options.train}, {"held_out", options.held_out}}},
          {"stamps", std::move(list)}};
}

bool is_complete(const fs::path& summary_file, const nlohmann::json& summary) {
  if (!fs::is_regular_file(summary_file)) return false;
  try {
    return load_json(summary_file) == summary;
  } catch (const UserError&) {
    return false;
  }
}

std::vector<Split> splits_of(DemoPlan plan, bool shuffle) {
  return {{"single", 1, std::move(plan.single), shuffle},
          {"train", 2, std::move(plan.train), shuffle},
          {"held_out", 3, std::move(plan.held_out), false}};
}

}  // namespace

bool write_demo_set(const std::vector<Stamp>& stamps, const DemoSetOptions& options, const fs::path& folder,
                    std::int64_t threads, const DemoProgress& progress) {
  validate(options);
  if (static_cast<std::int64_t>(stamps.size()) < options.stamps) {
    throw UserError("demo set: " + std::to_string(options.stamps) + " stamps are asked for, but the list has only " +
                    std::to_string(stamps.size()));
  }
  const std::vector<Stamp> chosen(stamps.begin(), stamps.begin() + options.stamps);
  const auto summary = summary_of(chosen, options);
  if (is_complete(folder / "summary.json", summary)) return false;
  make_folder(folder);
  // The summary is what says "complete": it goes first and comes last.
  std::error_code ignored;
  fs::remove(folder / "summary.json", ignored);

  std::vector<StampPicture> pictures;
  for (const auto& stamp : chosen) pictures.push_back(load_stamp(stamp));
  std::string training_captions;
  std::int64_t first_id = 0;
  for (const auto& split : splits_of(plan_demo_set(options), options.shuffle_captions)) {
    draw_split(split, pictures, options, folder, threads);
    const auto captions = captions_of(split, chosen, options.seed);
    write_file_atomically(folder / (split.name + ".json"),
                          one_per_line(annotations_of(split, captions, chosen, first_id)));
    first_id += static_cast<std::int64_t>(captions.size());
    if (split.name != "held_out") {
      for (const auto& caption : captions) training_captions += caption + "\n";
    }
    progress(split.name, static_cast<std::int64_t>(captions.size()));
  }
  write_file_atomically(folder / "captions.txt", training_captions);
  flush_file_system_to_disk(folder);
  write_file_atomically(folder / "summary.json", summary.dump(1) + "\n");
  return true;
}

}  // namespace blip2
