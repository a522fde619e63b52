#include "programs/tiny_world.h"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace blip2 {
namespace {

using nlohmann::json;

constexpr int kPictures = 12, kSide = 16;

/** A BMP file, the simplest picture format: 54 bytes of header, then rows from below, blue first. */
std::string picture_bytes(int number) {
  const int bytes = 54 + 3 * kSide * kSide;
  std::string text(static_cast<std::size_t>(bytes), '\0');
  const auto put = [&](std::size_t place, std::int32_t value) { std::memcpy(text.data() + place, &value, 4); };
  text[0] = 'B', text[1] = 'M';
  put(2, bytes), put(10, 54), put(14, 40), put(18, kSide), put(22, kSide), put(26, 1 | 24 << 16);
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const bool inside = number % 2 == 0 ? x > 3 && x < 12 && y > 3 && y < 12 : x > 5 && x < 10;
      const auto place = static_cast<std::size_t>(54 + 3 * (y * kSide + x));
      const int colour = number / 2;
      for (std::size_t c = 0; c < 3; ++c) text[place + c] = inside && ((colour + 1) >> c & 1) ? '\xe0' : '\x20';
    }
  }
  return text;
}

std::string caption(int number) {
  const char* colours[] = {"blue", "green", "turquoise", "red", "pink", "yellow"};
  return std::string("a ") + colours[number / 2] + (number % 2 == 0 ? " square" : " bar");
}

json train_section(std::int64_t seed) {
  return {{"seed", seed},    {"steps", 12},           {"learning_rate", 1e-3}, {"warmup_steps", 2},
          {"log_every", 12}, {"checkpoint_every", 4}, {"threads", 1}};
}

json data_section(const std::string& annotations) {
  return {{"train", {annotations}},
          {"transform", {{"image_size", kSide}, {"crop_scale", {0.5, 1.0}}}},
          {"batch_size", 4},
          {"workers", 1}};
}

}  // namespace

TinyWorld& TinyWorld::instance() {
  static TinyWorld world;
  return world;
}

TinyWorld::TinyWorld() {
  std::filesystem::create_directory(path() / "pictures");
  json annotations = json::array();
  std::string captions;
  for (int i = 0; i < kPictures; ++i) {
    write_bytes(picture(i), picture_bytes(i));
    annotations.push_back({{"image", "pictures/" + std::to_string(i) + ".bmp"}, {"caption", caption(i)}});
    captions += caption(i) + "\n";
  }
  write_bytes(file("annotations.json"), annotations.dump());
  write_bytes(file("captions.txt"), captions);
}

json TinyWorld::language_model_config() const {
  return {
      {"text_config",
       {{"model_type", "opt"},
        {"hidden_size", 16},
        {"num_hidden_layers", 1},
        {"num_attention_heads", 2},
        {"ffn_dim", 32},
        {"max_position_embeddings", 48}}},
      {"text", {{"file", file("captions.txt")}, {"vocabulary_size", 300}, {"sequence_length", 16}, {"batch_size", 4}}},
      {"train", train_section(1)}};
}

json TinyWorld::stage1_config() const {
  return {{"model",
           {{"vision_config",
             {{"hidden_size", 16},
              {"intermediate_size", 32},
              {"num_hidden_layers", 1},
              {"num_attention_heads", 2},
              {"image_size", kSide},
              {"patch_size", 8}}},
            {"qformer_config",
             {{"hidden_size", 16},
              {"num_hidden_layers", 2},
              {"num_attention_heads", 2},
              {"intermediate_size", 32},
              {"hidden_dropout_prob", 0.1},
              {"max_position_embeddings", 16}}},
            {"num_query_tokens", 2},
            {"image_text_hidden_size", 8}}},
          {"vision", {{"frozen", false}}},
          {"text", {{"tokenizer", file("vocabulary")}, {"max_length", 12}}},
          {"data", data_section(file("annotations.json"))},
          {"train", train_section(1)}};
}

json TinyWorld::stage2_config() {
  return {{"stage1", stage1()},
          {"language_model", language_model()},
          {"text", {{"max_length", 12}}},
          {"data", data_section(file("annotations.json"))},
          {"train", train_section(2)}};
}

std::string TinyWorld::once(const std::string& program, const std::string& output,
                            const std::vector<std::string>& arguments) {
  if (std::filesystem::exists(file(output))) return file(output);
  const Outcome outcome = run(program, arguments);
  if (outcome.exit_code != 0) throw std::runtime_error(program + " failed: " + outcome.error);
  return file(output);
}

std::string TinyWorld::vocabulary() {
  return once("build_vocabulary", "vocabulary",
              {"--text", file("captions.txt"), "--output", file("vocabulary"), "--size", "100"});
}

std::string TinyWorld::language_model() {
  return once("train_language_model", "language_model", arguments(language_model_config(), file("language_model")));
}

std::string TinyWorld::stage1() {
  vocabulary();
  return once("train_stage1", "stage1", arguments(stage1_config(), file("stage1")));
}

std::string TinyWorld::stage2() {
  return once("train_stage2", "stage2", arguments(stage2_config(), file("stage2")));
}

std::vector<std::string> TinyWorld::arguments(const json& config, const std::string& output,
                                              const std::vector<std::string>& more) {
  const std::string name = file("config" + std::to_string(configs_++) + ".json");
  write_bytes(name, config.dump(2));
  std::vector<std::string> all = {"--config", name, "--output", output};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::string read_bytes(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + file.string());
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write_bytes(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream stream(file, std::ios::binary);
  if (!(stream << bytes)) throw std::runtime_error("cannot write " + file.string());
}

std::vector<std::string> timeless_log(const std::filesystem::path& run) {
  std::vector<std::string> lines;
  for (const auto& line : lines_of(read_bytes(run / "log.jsonl"))) {
    auto object = nlohmann::ordered_json::parse(line);
    object.erase("timing");
    lines.push_back(object.dump());
  }
  return lines;
}

std::vector<std::string> tensor_names(const std::filesystem::path& file) {
  const std::string bytes = read_bytes(file);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  const json tensors = json::parse(bytes.substr(8, header));
  std::vector<std::string> names;
  for (const auto& [name, value] : tensors.items()) {
    if (name != "__metadata__") names.push_back(name);
  }
  return names;
}

namespace {

template <typename Value>
std::vector<Value> values_of(const std::filesystem::path& file, const std::string& name, const char* dtype) {
  const std::string bytes = read_bytes(file);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  const json tensor = json::parse(bytes.substr(8, header)).at(name);
  if (tensor.at("dtype") != dtype) throw std::runtime_error(name + " is not " + dtype);
  const auto offsets = tensor.at("data_offsets").get<std::vector<std::uint64_t>>();
  std::vector<Value> values((offsets.at(1) - offsets.at(0)) / sizeof(Value));
  std::memcpy(values.data(), bytes.data() + 8 + header + offsets.at(0), values.size() * sizeof(Value));
  return values;
}

}  // namespace

std::vector<float> tensor_values(const std::filesystem::path& file, const std::string& name) {
  return values_of<float>(file, name, "F32");
}

std::vector<std::int64_t> tensor_integers(const std::filesystem::path& file, const std::string& name) {
  return values_of<std::int64_t>(file, name, "I64");
}

std::vector<std::string> files_below(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    names.push_back(entry.path().lexically_relative(folder).string());
  }
  return names;
}

}  // namespace blip2
