// Uses the installed library the way a user does: a config from a file with an override, the library's random numbers,
// and its errors. Prints one line that install_test.cmake compares. The README's example is compiled and linked beside
// that: without a trained model it has nothing to say.
#include <blip2/models/captioner.h>

#include <cstdint>
#include <iostream>
#include <string>

#include "blip2/core/config.h"
#include "blip2/core/error.h"
#include "blip2/core/random.h"

struct Settings {
  std::int64_t seed = 0;
  std::string name;
};

void visit_fields(blip2::FieldVisitor& visitor, Settings& settings) {
  visitor.field("seed", settings.seed);
  visitor.field("name", settings.name);
}

std::string first_caption(const std::string& run, const at::Tensor& pixels) {
  auto generator = blip2::load_generator_model(run);
  auto captions = blip2::caption_pictures(generator, pixels, /*prompt=*/"", {.num_beams = 5});
  return captions.front().front().text;
}

int main(int argument_count, char** arguments) {
  return blip2::run_program("consumer", [&] {
    if (argument_count != 2) throw blip2::UserError("expected the path of a config");
    const auto settings = blip2::load_config<Settings>(arguments[1], {"seed=7"});
    blip2::Random first({static_cast<std::uint64_t>(settings.seed)});
    blip2::Random second({7});
    std::cout << settings.name << " " << settings.seed << " " << (first.bits() == second.bits()) << "\n";
    return 0;
  });
}
