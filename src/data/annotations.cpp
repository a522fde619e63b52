#include "blip2/data/annotations.h"

#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "blip2/core/error.h"
#include "blip2/core/read_file.h"
#include "core/json_reading.h"

namespace blip2 {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxRecords = 100'000'000;
constexpr std::size_t kMaxStrings = 10'000;
constexpr std::size_t kMaxStringBytes = 65'536;

/** Where a record stands, for errors: "record 3" of an array, "line 3" of JSON lines. */
struct Place {
  std::string file;
  std::string record;
};

[[noreturn]] void refuse(const Place& place, const std::string& rule) {
  throw UserError("'" + place.file + "', " + place.record + ": " + rule);
}

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

std::string text_of(const Json& value, const char* key, const Place& place) {
  if (!value.is_string()) refuse(place, "'" + std::string(key) + "' must be a string, found " + shown(value));
  std::string text = value.get<std::string>();
  if (text.size() > kMaxStringBytes) {
    refuse(place, "'" + std::string(key) + "' has " + std::to_string(text.size()) + " bytes, more than " +
                      std::to_string(kMaxStringBytes));
  }
  return text;
}

std::vector<std::string> texts_of(const Json& value, const char* key, const Place& place) {
  if (!value.is_array()) return {text_of(value, key, place)};
  if (value.size() > kMaxStrings) {
    refuse(place, "'" + std::string(key) + "' has " + std::to_string(value.size()) + " entries, more than " +
                      std::to_string(kMaxStrings));
  }
  std::vector<std::string> texts;
  for (const auto& entry : value) texts.push_back(text_of(entry, key, place));
  return texts;
}

class AnnotationReader {
 public:
  AnnotationReader(const std::filesystem::path& file, std::filesystem::path image_root)
      : file_(file), image_root_(std::move(image_root)) {}

  std::vector<Annotation> read() {
    std::ifstream stream = open_file(file_);
    stream >> std::ws;
    const int first = stream.peek();
    if (first == '[') {
      read_array(stream);
    } else if (first == '{') {
      read_lines(stream);
    } else {
      throw UserError("'" + file_.string() + "' must begin with [ (a JSON list) or { (JSON lines)");
    }
    if (annotations_.empty()) throw UserError("'" + file_.string() + "' holds no record");
    number_images();
    return std::move(annotations_);
  }

 private:
  // Takes every element and drops it again: the document is never in memory as a whole.
  void read_array(std::istream& stream) {
    const auto take = [&](int depth, Json::parse_event_t event, Json& value) {
      if (is_too_deep(depth, event)) refuse(place_in_list(), kTooDeep);
      const bool ends = event == Json::parse_event_t::object_end || event == Json::parse_event_t::array_end ||
                        event == Json::parse_event_t::value;
      if (depth != 1 || !ends) return true;
      add(value, place_in_list());
      return false;
    };
    try {
      [[maybe_unused]] const Json nothing_left = Json::parse(stream, take);
    } catch (const Json::exception& error) {
      refuse(place_in_list(), "not JSON: " + reason_of(error));
    }
  }

  void read_lines(std::istream& stream) {
    std::string line;
    for (std::int64_t number = 1; std::getline(stream, line); ++number) {
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      const Place place{file_.string(), "line " + std::to_string(number)};
      const auto bounded = [&](int depth, Json::parse_event_t event, const Json&) {
        if (is_too_deep(depth, event)) refuse(place, kTooDeep);
        return true;
      };
      Json record;
      try {
        record = Json::parse(line, bounded);
      } catch (const Json::exception& error) {
        refuse(place, "not JSON: " + reason_of(error));
      }
      add(record, place);
    }
  }

  /** Of the record that comes next. */
  Place place_in_list() const { return {file_.string(), "record " + std::to_string(annotations_.size())}; }

  void add(const Json& record, const Place& place) {
    if (!record.is_object()) refuse(place, "must be an object {\"image\", \"caption\"}, found " + shown(record));
    if (annotations_.size() >= kMaxRecords) refuse(place, "more than " + std::to_string(kMaxRecords) + " records");
    for (const char* key : {"image", "caption"}) {
      if (!record.contains(key)) refuse(place, "'" + std::string(key) + "' is missing");
    }
    Annotation annotation;
    const std::string image = text_of(record["image"], "image", place);
    if (image.empty() || image.find('\0') != std::string::npos) refuse(place, "'image' must be a path");
    annotation.image = image_root_ / image;
    annotation.captions = texts_of(record["caption"], "caption", place);
    if (annotation.captions.empty()) refuse(place, "'caption' is an empty list");
    if (record.contains("objects")) annotation.objects = texts_of(record["objects"], "objects", place);
    ids_.push_back(id_of(record, image, place));
    annotations_.push_back(std::move(annotation));
  }

  // Keys of different kinds must not meet: 7, "7" and a picture called 7 are three.
  std::string id_of(const Json& record, const std::string& image, const Place& place) {
    const auto id = record.find("image_id");
    if (id != record.end() && id->is_number_integer()) {
      if (id->is_number_unsigned() && id->get<std::uint64_t>() > INT64_MAX) refuse(place, "'image_id' is too large");
      return "i" + std::to_string(id->get<std::int64_t>());
    }
    all_integers_ = false;
    if (id == record.end()) return "p" + image;
    if (!id->is_string()) refuse(place, "'image_id' must be an integer or a string, found " + shown(*id));
    return "s" + text_of(*id, "image_id", place);
  }

  void number_images() {
    std::unordered_map<std::string, std::int64_t> numbers;
    for (std::size_t i = 0; i < annotations_.size(); ++i) {
      const auto next = static_cast<std::int64_t>(numbers.size());
      annotations_[i].image_id =
          all_integers_ ? std::stoll(ids_[i].substr(1)) : numbers.emplace(ids_[i], next).first->second;
    }
  }

  std::filesystem::path file_;
  std::filesystem::path image_root_;
  std::vector<Annotation> annotations_;
  std::vector<std::string> ids_;
  bool all_integers_ = true;
};

}  // namespace

std::vector<Annotation> load_annotations(const std::filesystem::path& file, const std::filesystem::path& image_root) {
  return AnnotationReader(file, image_root.empty() ? file.parent_path() : image_root).read();
}

std::vector<CaptionPair> caption_pairs(const std::vector<Annotation>& annotations) {
  std::vector<CaptionPair> pairs;
  for (std::size_t i = 0; i < annotations.size(); ++i) {
    for (std::size_t j = 0; j < annotations[i].captions.size(); ++j) {
      pairs.push_back({static_cast<std::int64_t>(i), static_cast<std::int64_t>(j)});
    }
  }
  return pairs;
}

}  // namespace blip2
