#include "training_program.h"

int main(int argc, char** argv) {
  return blip2::training_program<blip2::LanguageModelTaskOptions, blip2::LanguageModelTask>(
      "train_language_model", "A small OPT from scratch, on text alone", argc, argv);
}
