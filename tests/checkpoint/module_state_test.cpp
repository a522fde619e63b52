// Loading either fits entirely or changes nothing and says everything that is wrong.
#include "blip2/checkpoint/module_state.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "blip2/checkpoint/hugging_face.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

struct NetImpl : torch::nn::Module {
  NetImpl() {
    first = register_module("first", torch::nn::Linear(3, 2));
    second = register_module("second", torch::nn::Linear(torch::nn::LinearOptions(2, 2).bias(false)));
  }
  torch::nn::Linear first{nullptr}, second{nullptr};
};
TORCH_MODULE(Net);

NamedTensors fitting_tensors() {
  return {{"first.weight", torch::full({2, 3}, 1.5)},
          {"first.bias", torch::full({2}, 2.5)},
          {"second.weight", torch::full({2, 2}, 3.5)}};
}

std::vector<std::string> names_of(const NamedTensors& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

TEST(NamedParameters, FrozenOnesAreNotTrainable) {
  Net net;
  net->second->weight.set_requires_grad(false);
  EXPECT_EQ(names_of(named_parameters(*net)),
            (std::vector<std::string>{"first.bias", "first.weight", "second.weight"}));
  EXPECT_EQ(names_of(trainable_parameters(*net)), (std::vector<std::string>{"first.bias", "first.weight"}));
  EXPECT_TRUE(named_parameters(*net).at("first.bias").is_same(net->first->bias));
}

TEST(LoadParameters, CopiesConvertsAndKeepsTheParameterItself) {
  Net net;
  net->to(at::kBFloat16);
  const at::Tensor held = net->first->weight;
  const auto report = load_parameters(*net, fitting_tensors());
  EXPECT_TRUE(report.missing.empty() && report.unexpected.empty());
  EXPECT_TRUE(held.is_same(net->first->weight));
  EXPECT_EQ(held.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(torch::equal(held, torch::full({2, 3}, 1.5, at::kBFloat16)));
  EXPECT_TRUE(held.requires_grad());
  EXPECT_TRUE(held.is_leaf());
}

TEST(LoadParameters, ListsEverythingWrongAndChangesNothing) {
  Net net;
  const at::Tensor before = net->second->weight.detach().clone();
  NamedTensors tensors = fitting_tensors();
  tensors.erase("first.bias");
  tensors["first.weight"] = torch::ones({3});  // copy_ would broadcast this
  tensors["third"] = torch::ones({1});
  LoadOptions options;
  options.source = "folder";
  EXPECT_USER_ERROR(load_parameters(*net, tensors, options),
                    "'folder': 3 tensors do not fit the model: 'first.bias' is missing, 'first.weight' has shape [3] "
                    "where the model has [2, 3], 'third' is unexpected");
  EXPECT_TRUE(torch::equal(before, net->second->weight));
}

TEST(LoadParameters, NamesEverythingThatDoesNotFit) {
  Net net;
  NamedTensors tensors = fitting_tensors();
  for (int i = 0; i < 11; ++i) tensors["x" + std::to_string(i)] = torch::ones({1});
  EXPECT_USER_ERROR(load_parameters(*net, tensors), "11 tensors do not fit the model: 'x0' is unexpected, 'x1' is");
  EXPECT_USER_ERROR(load_parameters(*net, tensors), "'x8' is unexpected, 'x9' is unexpected");
}

TEST(LoadParameters, ReadsAParameterUnderTheNameThatTheSourceHasForIt) {
  Net net;
  NamedTensors tensors = fitting_tensors();
  const at::Tensor bias = tensors.at("first.bias");
  tensors.erase("first.bias");
  tensors["alias"] = bias;
  LoadOptions options;
  options.stored_as["first.bias"] = "alias";
  load_parameters(*net, tensors, options);
  EXPECT_TRUE(torch::equal(net->first->bias, bias));
  tensors.erase("alias");
  EXPECT_USER_ERROR(load_parameters(*net, tensors, options), "'alias' is missing");
}

TEST(LoadParameters, RefusesIntegersForWeights) {
  Net net;
  NamedTensors tensors = fitting_tensors();
  tensors["first.bias"] = torch::ones({2}, at::kLong);
  EXPECT_USER_ERROR(load_parameters(*net, tensors),
                    "1 tensor does not fit the model: 'first.bias' has dtype Long where the model has Float");
}

TEST(LoadParameters, LenientLoadReportsButStillRefusesAWrongShape) {
  Net net;
  NamedTensors tensors = fitting_tensors();
  tensors.erase("first.bias");
  tensors["third"] = torch::ones({1});
  LoadOptions options;
  options.strict = false;
  const auto report = load_parameters(*net, tensors, options);
  EXPECT_EQ(report.missing, std::vector<std::string>{"first.bias"});
  EXPECT_EQ(report.unexpected, std::vector<std::string>{"third"});
  EXPECT_TRUE(torch::equal(net->second->weight, torch::full({2, 2}, 3.5)));
  tensors["second.weight"] = torch::ones({2, 3});
  EXPECT_USER_ERROR(load_parameters(*net, tensors, options),
                    "'second.weight' has shape [2, 3] where the model has [2, 2]");
}

TEST(LoadParameters, IgnoreListMatchesWholeComponentsAndPrefixes) {
  Net net;
  NamedTensors tensors = fitting_tensors();
  tensors["embeddings.position_ids"] = torch::ones({1, 4}, at::kLong);
  tensors["language_model.weight"] = torch::ones({1});
  LoadOptions options;
  options.ignore.push_back("language_model.");
  EXPECT_NO_THROW(load_parameters(*net, tensors, options));
  tensors["relative_position_ids"] = torch::ones({1});
  EXPECT_USER_ERROR(load_parameters(*net, tensors, options), "'relative_position_ids' is unexpected");
}

TEST(LoadParameters, PrefixSelectsOneModuleOfALargerModel) {
  Net net;
  NamedTensors tensors{{"other.weight", torch::ones({9})}};
  for (const auto& [name, tensor] : fitting_tensors()) tensors["net." + name] = tensor;
  LoadOptions options;
  options.prefix = "net.";
  EXPECT_NO_THROW(load_parameters(*net, tensors, options));
  EXPECT_TRUE(torch::equal(net->first->bias, torch::full({2}, 2.5)));
  tensors.erase("net.first.bias");
  EXPECT_USER_ERROR(load_parameters(*net, tensors, options), "'net.first.bias' is missing");
}

TEST(LoadParameters, FolderLoadsTensorByTensor) {
  const TemporaryFolder folder;
  save_model_tensors(fitting_tensors(), folder.path(), 16);
  Net net;
  load_parameters(*net, ModelTensors(folder.path()));
  for (const auto& [name, tensor] : fitting_tensors())
    EXPECT_TRUE(torch::equal(named_parameters(*net).at(name), tensor));
  save_model_tensors({{"first.bias", torch::ones({2})}}, folder.path());  // a single file goes before shards
  EXPECT_USER_ERROR(load_parameters(*net, ModelTensors(folder.path())),
                    "'" + folder.path().string() + "': 2 tensors do not");
}

}  // namespace
}  // namespace blip2
