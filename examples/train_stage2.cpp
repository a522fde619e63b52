#include "training_program.h"

int main(int argc, char** argv) {
  return blip2::training_program<blip2::Stage2Options, blip2::Stage2Task>(
      "train_stage2", "Stage 2 of BLIP-2: the Q-Former learns to prompt a frozen language model", argc, argv);
}
