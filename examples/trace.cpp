// Computes what a reference case asks for, or every activation of a model for given inputs, to compare tensor by
// tensor.
#include <filesystem>
#include <iostream>
#include <vector>

#include "blip2/core/error.h"
#include "blip2/core/output_path.h"
#include "blip2/models/source_folders.h"
#include "blip2/trace/reference_case.h"
#include "blip2/trace/trace_inputs.h"
#include "command_line.h"

int main(int argc, char** argv) {
  CLI::App app{
      "Computes a reference case (trace CASE --output DIR: actual.safetensors and actual.json with the names of its "
      "expected files), or a model's activations (trace --model FOLDER --inputs FILE --output FILE)",
      "trace"};
  std::string reference_case, model, inputs, output;
  blip2::TraceOptions options;
  bool single_precision = false;
  auto* positional =
      app.add_option("case", reference_case,
                     "Folder of a case: expected.json and what it asks about, e.g. model/ and inputs.safetensors");
  auto* own = app.add_option("--model", model, "Published folder or run folder")
                  ->check(blip2::not_empty())
                  ->excludes(positional);
  app.add_option("--inputs", inputs, "Tensors pixel_values, input_ids, attention_mask, labels")
      ->check(blip2::not_empty())
      ->needs(own);
  app.add_option("--output", output, "Folder (of a case) or file to write")->check(blip2::not_empty())->required();
  blip2::add_lora_option(app, options.lora)->needs(own);
  app.add_flag("--gradients", options.gradients, "Gradients of every parameter besides")->needs(own);
  app.add_flag("--interpolate", options.interpolate, "Pictures of other sizes than the model's")->needs(own);
  app.add_flag("--double", options.double_precision, "Compute in float64, as a case is computed anyway");
  app.add_flag("--single", single_precision, "Compute a case in float32, as the other programs do")->needs(positional);
  if (const auto end = blip2::parse_command_line(app, argc, argv)) return *end;
  return blip2::run_program("trace", [&] {
    if (!reference_case.empty()) {
      blip2::check_output_folder(output);
      for (const auto& path : blip2::run_reference_case(reference_case, output, {!single_precision})) {
        std::cout << path.string() << "\n";
      }
      return 0;
    }
    if (model.empty() || inputs.empty()) {
      throw blip2::UserError("expected a reference case, or --model and --inputs");
    }
    std::vector<std::filesystem::path> read = blip2::source_files(model, options.lora);
    read.emplace_back(inputs);
    blip2::check_output_file(output, read);
    const auto trace = blip2::trace_inputs(model, blip2::load_safetensors(inputs), options);
    blip2::prepare_output(output);
    blip2::save_safetensors(trace, output);
    std::cout << output << ": " << trace.size() << " tensors\n";
    return 0;
  });
}
