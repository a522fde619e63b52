#include "text/tokenizer_json/post_processor.h"

#include "core/in_quotes.h"

namespace blip2 {
namespace {

using Ids = std::vector<std::int64_t>;

/** The ids that a special token of a template stands for. */
Ids template_ids(const JsonPlace& place, const std::string& name, std::int64_t vocabulary_size) {
  const JsonPlace token = place.at("special_tokens", "an object").at(name.c_str(), "the ids of this special token");
  Ids ids;
  for (const auto& id : token.items("ids")) {
    if (!id.value().is_number_unsigned() ||
        id.value().get<std::uint64_t>() >= static_cast<std::uint64_t>(vocabulary_size)) {
      id.refuse("an id from 0 to " + std::to_string(vocabulary_size - 1));
    }
    ids.push_back(id.value().get<std::int64_t>());
  }
  return ids;
}

PostProcessor read_template(const JsonPlace& place, std::int64_t vocabulary_size) {
  PostProcessor result;
  bool behind_text = false;
  for (const auto& part : place.items("single")) {
    if (part.has("Sequence")) {
      const JsonPlace sequence = part.at("Sequence", "");
      if (behind_text || sequence.text("id") != "A")
        part.complain("must be the only text of its template, with the id A");
      behind_text = true;
    } else {
      const JsonPlace special = part.at("SpecialToken", "a SpecialToken or a Sequence");
      const Ids ids = template_ids(place, special.text("id"), vocabulary_size);
      auto& side = behind_text ? result.suffix : result.prefix;
      side.insert(side.end(), ids.begin(), ids.end());
    }
  }
  if (!behind_text) place.at("single", "").complain("has no place for the text, expected a Sequence with the id A");
  return result;
}

/** `["[SEP]", 102]`. */
std::int64_t read_named_id(const JsonPlace& place, const char* key, std::int64_t vocabulary_size) {
  const std::string expected = R"(a token and its id, as ["[SEP]", 102])";
  const JsonPlace pair = place.at(key, expected);
  const auto& value = pair.value();
  if (!value.is_array() || value.size() != 2 || !value[0].is_string()) pair.refuse(expected);
  if (!value[1].is_number_unsigned() || value[1].get<std::uint64_t>() >= static_cast<std::uint64_t>(vocabulary_size)) {
    pair.item(1).refuse("an id from 0 to " + std::to_string(vocabulary_size - 1));
  }
  return value[1].get<std::int64_t>();
}

PostProcessor read_sequence(const JsonPlace& place, std::int64_t vocabulary_size) {
  PostProcessor result;
  for (const auto& part : place.items("processors")) {
    PostProcessor step = read_post_processor(part, vocabulary_size);
    if (step.prefix.empty() && step.suffix.empty()) continue;
    if (!result.prefix.empty() || !result.suffix.empty()) part.complain("is the second of its list that adds tokens");
    result = std::move(step);
  }
  return result;
}

}  // namespace

PostProcessor read_post_processor(const JsonPlace& place, std::int64_t vocabulary_size) {
  const std::string type = place.text("type");
  if (type == "TemplateProcessing") return read_template(place, vocabulary_size);
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    return {{read_named_id(place, "cls", vocabulary_size)}, {read_named_id(place, "sep", vocabulary_size)}};
  }
  if (type == "ByteLevel") return {};
  if (type == "Sequence") return read_sequence(place, vocabulary_size);
  place.at("type", "")
      .refuse(one_of({"BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"}));
}

}  // namespace blip2
