// Checkpoints of LAVIS (`.pth`) to folders in Hugging Face format and back. LAVIS saves what it trained and gets the
// frozen parts from elsewhere each time (LAVIS specification 8); a folder is whole, so they have to be named here.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace blip2 {

/** Where a folder gets from what a LAVIS file does not hold. Paths may be empty. */
struct LavisSources {
  /** A published folder of the same kind: config.json, tokenizer, image processor and frozen parts. */
  std::filesystem::path like;
  /** A config.json in Hugging Face's schema, before that of `like`. Without both: the published sizes. */
  std::filesystem::path config;
  /** The image encoder: a file such as eva_vit_g.pth, or a folder that holds `vision_model.*`. Before `like`. */
  std::filesystem::path vision;
  /** The language model: an OPT or FlanT5 folder, or a run. Before `like`; its tokenizer goes into the folder too. */
  std::filesystem::path language_model;
  /** A folder with tokenizer files, or a run; before `language_model` and `like`. */
  std::filesystem::path tokenizer;
};

/** What a conversion did. */
struct LavisConversion {
  std::size_t tensors = 0;       // written
  std::size_t from_sources = 0;  // of these, frozen parts that the converted file does not hold
};

/**
 * Writes `folder` from a LAVIS checkpoint of stage 1 (a Blip2ForImageTextRetrieval, with the head for text generation
 * and the temperature, which Python passes over) or stage 2 (Blip2ForConditionalGeneration), or from an image encoder
 * alone (`vision_model.*`, as `vision.weights` of stage 1 reads it). The file is one of torch.save, or safetensors
 * under LAVIS's names. Numbers and dtypes are what they were; an image size other than the config's is followed.
 * Where no config is named, `post_layer_norm_eps` is LAVIS's 1e-5; Python passes over this key and has 1e-6. Throws one
 * UserError that lists every tensor without a place, missing or misshapen, and then writes nothing; so too where
 * `folder` is or holds what is read, a source holds an adapter, or one is named that such a model does not have.
 */
LavisConversion lavis_to_folder(const std::filesystem::path& file, const std::filesystem::path& folder,
                                const LavisSources& sources);

/**
 * Writes a LAVIS checkpoint `{"model": ...}` from a published folder, or a bare one from an image encoder's folder.
 * `with_frozen`: image encoder and language model too, which LAVIS loads where they are there; it saves none itself
 * while they are frozen. Throws one UserError that lists every tensor without a place, and then writes nothing; an
 * existing file is not replaced.
 */
LavisConversion folder_to_lavis(const std::filesystem::path& folder, const std::filesystem::path& file,
                                bool with_frozen = true);

}  // namespace blip2
