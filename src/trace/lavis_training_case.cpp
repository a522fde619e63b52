// Optimization as LAVIS runs it: recorded batches and negatives, AdamW's two groups, the rate of each iteration,
// gradients accumulated over several of them.
#include <torch/torch.h>

#include "blip2/checkpoint/module_state.h"
#include "blip2/nn/linear.h"
#include "blip2/train/layer_decay.h"
#include "blip2/train/optimizer.h"
#include "blip2/train/schedule.h"
#include "trace/lavis_case.h"
#include "trace/lavis_model.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::int64_t kTracedStep = 6;

const std::map<std::string, std::string> kSchedulers = {{"linear_warmup_cosine_lr", "lavis_epoch_cosine"},
                                                        {"linear_warmup_step_lr", "lavis_epoch_step"},
                                                        {"constant_lr", "constant"}};

ScheduleOptions schedule_of(const json& asked) {
  ScheduleOptions options;
  options.schedule = "lavis_epoch_cosine";
  options.learning_rate = asked.at("init_lr");
  options.min_learning_rate = asked.at("min_lr");
  options.warmup_learning_rate = asked.at("warmup_start_lr");
  options.warmup_steps = asked.at("warmup_steps");
  return options;
}

RepresentationBatch batch_of(const CaseRun& run, const at::Tensor& images, std::int64_t step) {
  const at::Tensor rows = run.input("batch_index")[step];
  RepresentationBatch batch;
  batch.pixels = images.index_select(0, rows);
  batch.text = {run.input("input_ids").index_select(0, rows), run.input("attention_mask").index_select(0, rows)};
  return batch;
}

/** The pictures, which a case may share with the one beside it. */
at::Tensor images_of(const CaseRun& run) {
  if (run.has_input("images")) return run.input("images");
  return load_safetensors(beside(run, "stage1_train") / "inputs.safetensors").at("images").to(run.dtype());
}

/** Parameters and moments after the traced step. */
void trace_state(const torch::nn::Module& module, const AdamW& optimizer, NamedTensors& trace) {
  const std::string step = "step" + std::to_string(kTracedStep) + ".";
  std::map<std::string, NamedTensors> kinds;
  for (const auto& [name, tensor] : optimizer.state()) {
    for (const std::string kind : {"exp_avg", "exp_avg_sq"}) {
      if (name.ends_with("." + kind)) kinds[kind][name.substr(0, name.size() - kind.size() - 1)] = tensor.clone();
    }
  }
  for (const auto& [name, parameter] : trainable_parameters(module)) kinds["param"][name] = parameter.detach().clone();
  for (const auto& [kind, tensors] : kinds) {
    trace.merge(under_lavis_names(tensors, LavisModel::kQFormer, step + kind + "."));
  }
}

json groups_of(const torch::nn::Module& module, const AdamW::LearningRateScale& scale) {
  std::map<std::pair<double, double>, std::vector<std::string>> groups;
  for (const auto& [name, parameter] : trainable_parameters(module)) {
    const double decay = is_decayed(name, parameter, {}) ? OptimizerOptions().weight_decay : 0.0;
    for (const auto& entry : under_lavis_names({{name, parameter.detach()}}, LavisModel::kQFormer, "")) {
      groups[{decay, scale ? scale(name) : 1.0}].push_back(entry.first);
    }
  }
  json result = json::array();
  for (const auto& [key, names] : groups) {
    result.push_back({{"weight_decay", key.first}, {"lr_scale", key.second}, {"params", names}});
  }
  return result;
}

}  // namespace

void run_lavis_training(CaseRun& run) {
  Blip2QFormer model = load_lavis_qformer(run, "stage1_model", /*frozen_vision=*/true);
  model->train();
  const json& asked = run.asked.at("schedule");
  const ScheduleOptions schedule = schedule_of(asked);
  OptimizerOptions options;
  options.weight_decay = asked.at("weight_decay");
  options.beta2 = asked.at("beta2");
  AdamW optimizer(trainable_parameters(*model), options);
  const std::int64_t accumulated = run.asked.at("accum_grad_iters"), per_epoch = asked.at("iters"),
                     epochs = asked.at("epochs");
  const at::Tensor images = images_of(run), negatives = run.input("negatives");
  RepresentationOptions settings;
  settings.decoder_start_id = model->options().qformer_config.vocab_size - 1;
  const std::int64_t size = run.input("batch_index").size(1);
  const GradientsInPlace as_the_trainer_does;
  std::vector<at::Tensor> losses;
  std::vector<double> rates;
  for (std::int64_t i = 0; i < epochs * per_epoch; ++i) {
    rates.push_back(lavis_learning_rate(schedule, i / per_epoch, i % per_epoch, epochs));
    settings.negatives = HardNegatives{negatives[i].narrow(0, 0, size), negatives[i].narrow(0, size, size)};
    const auto step = model->add_gradients(batch_of(run, images, i), settings, single_process_group(),
                                           1.0 / static_cast<double>(accumulated));
    losses.push_back(torch::stack({step.total, step.contrastive, step.matching, step.generation}).detach());
    if ((i + 1) % accumulated == 0) {
      optimizer.step(rates.back());
      optimizer.zero_gradients();
    }
    if (i + 1 == kTracedStep) trace_state(*model, optimizer, run.trace);
  }
  run.trace.merge(under_lavis_names(trainable_parameters(*model), LavisModel::kQFormer, "final."));
  run.trace["losses"] = torch::stack(losses);
  run.trace["lr"] = torch::tensor(rates, torch::kDouble);
  run.answers = {{"lr", rates}};
}

void run_lavis_optimizer_groups(CaseRun& run) {
  Blip2QFormer model = load_lavis_qformer(run, "stage1_model", /*frozen_vision=*/false);
  const VisionOptions& vision = model->options().vision_config;
  for (const double decay : {0.95, 0.9}) {
    const std::string name = "freeze_vit=False lr_layer_decay=" + json(decay).dump();
    run.answers[name] = groups_of(*model, vision_layer_decay(vision, decay));
  }
  for (const auto& [name, parameter] : named_parameters(*model->vision_model)) {
    if (name.starts_with("post_layernorm.")) continue;
    const NamedTensors own{{"vision_model." + name, parameter.detach()}};
    for (const auto& entry : under_lavis_names(own, LavisModel::kImageEncoder, "")) {
      run.answers["vit layer id"][entry.first] = vision_layer(name, vision);
    }
  }
  run.answers["vit number of layers"] = vision.num_hidden_layers;
  model->vision_model->freeze();
  run.answers["freeze_vit=True lr_layer_decay=1"] = groups_of(*model, {});
}

void run_lavis_schedules(CaseRun& run) {
  run.answers = json::array();
  for (const json& entry : run.asked) {
    const json& settings = entry.at("settings");
    ScheduleOptions options;
    options.learning_rate = settings.at("init_lr");
    options.min_learning_rate = settings.value("min_lr", 0.0);
    options.warmup_steps = settings.at("warmup_steps");
    options.warmup_learning_rate = settings.value("warmup_start_lr", options.learning_rate);
    options.decay_rate = settings.value("decay_rate", 1.0);
    const std::string scheduler = entry.at("scheduler");
    options.schedule = kSchedulers.at(scheduler);
    json rows = json::array();
    for (const json& row : entry.at("epoch_step_lr")) {
      const std::int64_t epoch = row[0], step = row[1];
      rows.push_back({epoch, step, lavis_learning_rate(options, epoch, step, settings.value("max_epoch", 1))});
    }
    run.answers.push_back({{"scheduler", scheduler}, {"settings", settings}, {"epoch_step_lr", rows}});
  }
}

}  // namespace blip2
