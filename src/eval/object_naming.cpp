#include "blip2/eval/object_naming.h"

#include <c10/util/Exception.h>

#include <cctype>

namespace blip2 {

bool names_object(const std::string& caption, const std::string& name) {
  auto inside_word = [&](std::size_t i) {
    return i < caption.size() && (std::isalnum(static_cast<unsigned char>(caption[i])) != 0 || caption[i] == '-');
  };
  for (std::size_t at = caption.find(name); at != std::string::npos; at = caption.find(name, at + 1)) {
    const bool starts = at == 0 || !inside_word(at - 1);
    if (starts && !inside_word(at + name.size())) return true;
  }
  return false;
}

NamingScores naming_scores(const std::vector<std::string>& captions,
                           const std::vector<std::vector<std::string>>& objects) {
  TORCH_CHECK(!captions.empty() && captions.size() == objects.size(), "naming_scores: ", captions.size(),
              " captions for ", objects.size(), " pictures");
  double all = 0, some = 0;
  for (std::size_t i = 0; i < captions.size(); ++i) {
    std::size_t named = 0;
    for (const auto& object : objects[i]) named += names_object(captions[i], object) ? 1 : 0;
    all += named == objects[i].size() ? 1 : 0;
    some += named > 0 ? 1 : 0;
  }
  const auto count = static_cast<double>(captions.size());
  return {all / count, some / count};
}

}  // namespace blip2
