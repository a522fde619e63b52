#include "blip2/data/stamps.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <tuple>

#include "blip2/core/config.h"
#include "blip2/core/error.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxWords = 6;
constexpr std::size_t kMaxWordsWithoutArticle = 3;

bool one_of(const std::string& word, std::initializer_list<const char*> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Words that make a line a sentence or speak to the reader.
bool belongs_to_a_sentence(const std::string& word) {
  return one_of(word, {"is",      "are",   "was",   "were",   "be",   "can",    "has",     "have",      "had",
                       "lets",    "let",   "this",  "that",   "it",   "its",    "you",     "your",      "we",
                       "our",     "us",    "my",    "me",     "his",  "her",    "they",    "who",       "when",
                       "not",     "used",  "means", "down",   "eat",  "stop",   "go",      "resembles", "give",
                       "carries", "carry", "enter", "stands", "made", "called", "another", "do",        "don't"});
}

bool is_article(const std::string& word) {
  return one_of(word, {"a", "an", "the", "some", "two", "three"});
}

// Mass nouns of the collection: no rule tells them from countable ones.
bool is_mass_noun(const std::string& word) {
  return one_of(word, {"confetti", "corn", "broccoli", "lettuce", "garlic", "balsam", "tape", "thyme", "lavender"});
}

bool is_plural(const std::string& word) {
  return word.size() > 3 && word.back() == 's' && !word.ends_with("ss") && !word.ends_with("us") &&
         !word.ends_with("is");
}

std::string trim(const std::string& text) {
  constexpr const char* kSpace = " \t\r\n\v\f";
  const auto first = text.find_first_not_of(kSpace);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::vector<std::string> split_words(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::optional<std::string> first_line(const fs::path& path) {
  std::ifstream stream(path);
  std::string line;
  if (!stream || !std::getline(stream, line)) return std::nullopt;
  return line;
}

void require_folder(const fs::path& folder) {
  if (fs::is_directory(folder)) return;
  throw UserError("stamps folder '" + folder.string() +
                  "' does not exist: install the Debian package tuxpaint-stamps-default or name another folder");
}

bool is_symbol(const std::string& name) {
  const fs::path path(name);
  return std::any_of(path.begin(), path.end(), [](const fs::path& part) {
    return one_of(part.string(), {"symbols", "flags", "military"});
  });
}

Stamp listed_stamp(const nlohmann::json& entry, const fs::path& list, const fs::path& folder) {
  const bool with_caption = entry.is_object() && entry.size() == 2 && entry.contains("name") &&
                            entry.at("name").is_string() && entry.contains("caption") &&
                            entry.at("caption").is_string();
  if (!entry.is_string() && !with_caption) {
    throw UserError("'" + list.string() + "' must list stamp names or {\"name\", \"caption\"}, found " + entry.dump());
  }
  Stamp stamp;
  stamp.name = with_caption ? entry.at("name").get<std::string>() : entry.get<std::string>();
  stamp.file = folder / (stamp.name + ".png");
  if (!fs::is_regular_file(stamp.file)) {
    throw UserError("'" + list.string() + "' names the stamp '" + stamp.name + "', but there is no '" +
                    stamp.file.string() + "'");
  }
  const auto line =
      with_caption ? entry.at("caption").get<std::string>() : first_line(folder / (stamp.name + ".txt")).value_or("");
  const auto caption = clean_caption(line);
  if (!caption) {
    throw UserError("stamp '" + stamp.name + "' has the caption '" + trim(line) +
                    "', which is no short noun phrase: give one in '" + list.string() + "'");
  }
  stamp.caption = *caption;
  return stamp;
}

// A caption inside another one would make "was it named?" ambiguous.
void refuse_ambiguous_captions(const std::vector<Stamp>& stamps, const fs::path& list) {
  for (std::size_t i = 0; i < stamps.size(); ++i) {
    for (std::size_t j = 0; j < stamps.size(); ++j) {
      if (i == j || stamps[j].caption.find(stamps[i].caption) == std::string::npos) continue;
      throw UserError("'" + list.string() + "': the caption '" + stamps[i].caption + "' of '" + stamps[i].name +
                      "' is contained in '" + stamps[j].caption + "' of '" + stamps[j].name + "': drop one of them");
    }
  }
}

}  // namespace

std::optional<std::string> clean_caption(const std::string& line) {
  std::string text = trim(line);
  if (text.ends_with('.')) text.pop_back();
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  // Quotes, dashes, digits and other languages mark a line that says more than a name.
  if (!std::all_of(text.begin(), text.end(), [&](char c) { return is_letter(c) || c == ' ' || c == '-'; })) return {};
  if (text.find(" - ") != std::string::npos) return {};
  auto words = split_words(text);
  const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  const auto capitals = std::count_if(words.begin(), words.end(), [&](const auto& word) { return is_upper(word[0]); });
  for (auto& word : words) {
    std::transform(word.begin(), word.end(), word.begin(),
                   [&](char c) { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; });
  }
  if (words.empty() || words.size() > kMaxWords || std::any_of(words.begin(), words.end(), belongs_to_a_sentence)) {
    return {};
  }
  if (std::any_of(words.begin() + 1, words.end(), [](const auto& word) { return one_of(word, {"the", "at"}); }))
    return {};
  if (!is_article(words[0])) {
    const bool proper_name = capitals > 1;
    if (words.size() > kMaxWordsWithoutArticle || proper_name) return {};
    const bool vowel = std::string("aeiou").find(words[0][0]) != std::string::npos;
    const bool some = is_plural(words.back()) || is_mass_noun(words.back());
    words.insert(words.begin(), some ? "some" : vowel ? "an" : "a");
  } else if (words.size() == 1) {
    return {};
  }
  std::string result = words[0];
  for (std::size_t i = 1; i < words.size(); ++i) result += " " + words[i];
  return result;
}

std::vector<Stamp> find_stamps(const fs::path& folder) {
  require_folder(folder);
  std::vector<Stamp> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || entry.path().extension() != ".png") continue;
    auto text = entry.path();
    const auto line = first_line(text.replace_extension(".txt"));
    const auto caption = line ? clean_caption(*line) : std::nullopt;
    const std::string name = fs::path(entry.path()).replace_extension().lexically_relative(folder).generic_string();
    if (caption && !is_symbol(name)) found.push_back({name, *caption, entry.path()});
  }
  if (found.empty()) {
    throw UserError("stamps folder '" + folder.string() +
                    "' holds no picture with a caption (NAME.png beside NAME.txt): name the folder that has them");
  }
  const auto order = [](const Stamp& stamp) {
    return std::tuple(stamp.name.find("cartoon/") != std::string::npos, stamp.name);
  };
  std::sort(found.begin(), found.end(), [&](const auto& a, const auto& b) { return order(a) < order(b); });
  std::set<std::string> captions;
  std::erase_if(found, [&](const Stamp& stamp) { return !captions.insert(stamp.caption).second; });
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return found;
}

std::vector<Stamp> read_stamp_list(const fs::path& list, const fs::path& folder) {
  require_folder(folder);
  const auto entries = load_json(list);
  if (!entries.is_array() || entries.empty())
    throw UserError("'" + list.string() + "' must hold a JSON list of stamps");
  std::vector<Stamp> stamps;
  for (const auto& entry : entries) stamps.push_back(listed_stamp(entry, list, folder));
  refuse_ambiguous_captions(stamps, list);
  return stamps;
}

}  // namespace blip2
