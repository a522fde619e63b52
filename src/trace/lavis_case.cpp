#include "trace/lavis_case.h"

#include <functional>

namespace blip2 {
namespace {

/** A case is told by what only cases of its kind have. */
struct Kind {
  std::function<bool(const CaseRun&)> is;
  void (*run)(CaseRun&);
};

std::function<bool(const CaseRun&)> with_input(const std::string& name) {
  return [name](const CaseRun& run) { return run.has_input(name); };
}

std::function<bool(const CaseRun&)> asking(const std::string& key) {
  return [key](const CaseRun& run) { return run.asked.is_object() && run.asked.contains(key); };
}

std::function<bool(const CaseRun&)> both(std::function<bool(const CaseRun&)> a, std::function<bool(const CaseRun&)> b) {
  return [a = std::move(a), b = std::move(b)](const CaseRun& run) { return a(run) && b(run); };
}

bool has_nested_negatives(const CaseRun& run) {
  return asking("neg_image_idx")(run) && run.asked["neg_image_idx"].is_array() && !run.asked["neg_image_idx"].empty() &&
         run.asked["neg_image_idx"][0].is_array();
}

bool is_list_of_schedules(const CaseRun& run) {
  return run.asked.is_array() && !run.asked.empty() && run.asked[0].is_object() && run.asked[0].contains("scheduler");
}

bool is_position_table(const CaseRun& run) {
  return run.asked.is_null() && !run.inputs.empty() && run.inputs.begin()->first.find("_to_") != std::string::npos;
}

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {has_nested_negatives, run_lavis_two_ranks},
      {asking("neg_image_idx"), run_lavis_stage1},
      {with_input("itg_input_ids"), run_lavis_masks},
      {with_input("batch_index"), run_lavis_training},
      {asking("itc_similarity"), run_lavis_features},
      {both(asking("runs"), with_input("image")), run_lavis_captioner},
      {asking("k_test"), run_lavis_retrieval},
      {both(asking("generate"), with_input("input_ids")), run_lavis_stage2},
      {asking("blocks_used"), run_lavis_clip_vit},
      {is_position_table, run_lavis_positions},
      {asking("vit layer id"), run_lavis_optimizer_groups},
      {is_list_of_schedules, run_lavis_schedules},
      {asking("operations"), run_lavis_rand_augment},
      {asking("random_resized_crop_statistics"), run_lavis_image_transforms},
      {both(asking("rows"), asking("prompt")), run_lavis_text_processors},
  };
  return all;
}

}  // namespace

bool run_lavis_case(CaseRun& run) {
  for (const Kind& kind : kinds()) {
    if (!kind.is(run)) continue;
    kind.run(run);
    return true;
  }
  return false;
}

}  // namespace blip2
