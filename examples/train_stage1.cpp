#include "training_program.h"

int main(int argc, char** argv) {
  return blip2::training_program<blip2::Stage1Options, blip2::Stage1Task>(
      "train_stage1", "Stage 1 of BLIP-2: the Q-Former learns what text says about pictures", argc, argv);
}
