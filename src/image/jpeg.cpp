#include "image/decode.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>

#include <jpeglib.h>

#include "blip2/core/error.h"
#include "image/containers.h"

namespace blip2 {
namespace {

// libjpeg reports errors through callbacks that must not return; it is C, so they jump. No function between setjmp and
// the jump owns anything with a destructor: buffers belong to the caller.
struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

void stop(j_common_ptr info) {
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  manager->base.format_message(info, manager->message);
  std::longjmp(manager->jump, 1);
}
void print_nothing(j_common_ptr) {}

// The source is one buffer. At its end libjpeg is told "no more for now", so that decoding stops; the library's own
// memory source would make up an end marker and go on with grey.
void no_setup(j_decompress_ptr) {}
boolean no_more_bytes(j_decompress_ptr) {
  return FALSE;
}
void skip_bytes(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  auto* source = info->src;
  const auto step = std::min(static_cast<std::size_t>(count), source->bytes_in_buffer);
  source->next_input_byte += step;
  source->bytes_in_buffer -= step;
}

class JpegDecoder {
 public:
  explicit JpegDecoder(std::span<const std::uint8_t> bytes) {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = stop;
    errors_.base.output_message = print_nothing;
    source_ = {};
    source_.init_source = no_setup;
    source_.fill_input_buffer = no_more_bytes;
    source_.skip_input_data = skip_bytes;
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = no_setup;
    source_.next_input_byte = bytes.data();
    source_.bytes_in_buffer = bytes.size();
    created_ = create();
  }
  ~JpegDecoder() {
    if (created_) jpeg_destroy_decompress(&info_);
  }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  enum class Status { kDone, kCutShort, kFailed };

  Status read_header() {
    if (!created_ || setjmp(errors_.jump) != 0) return Status::kFailed;
    if (jpeg_read_header(&info_, TRUE) != JPEG_HEADER_OK) return Status::kCutShort;
    info_.out_color_space = info_.num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_calc_output_dimensions(&info_);
    return Status::kDone;
  }

  /** `pixels` has room for [height, width, channels]. */
  Status read_pixels(std::uint8_t* pixels) {
    if (setjmp(errors_.jump) != 0) return Status::kFailed;
    if (!jpeg_start_decompress(&info_)) return Status::kCutShort;
    const std::size_t stride = static_cast<std::size_t>(info_.output_width) * channels();
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = pixels + info_.output_scanline * stride;
      if (jpeg_read_scanlines(&info_, &row, 1) != 1) return Status::kCutShort;
    }
    return Status::kDone;
  }

  std::int64_t height() const { return info_.image_height; }
  std::int64_t width() const { return info_.image_width; }
  std::size_t channels() const { return static_cast<std::size_t>(info_.output_components); }
  std::int64_t rows_read() const { return info_.output_scanline; }
  const char* message() const { return errors_.message; }

 private:
  bool create() {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_decompress(&info_);
    info_.src = &source_;
    return true;
  }

  jpeg_decompress_struct info_ = {};
  jpeg_source_mgr source_;
  ErrorManager errors_ = {};
  bool created_ = false;
};

void check(JpegDecoder::Status status, const JpegDecoder& decoder, const std::string& name) {
  if (status == JpegDecoder::Status::kFailed) {
    throw UserError("'" + name + "' is a damaged JPEG (libjpeg: " + decoder.message() + ")");
  }
  if (status == JpegDecoder::Status::kCutShort) {
    throw UserError("'" + name + "' is a JPEG that was cut short: it ends after row " +
                    std::to_string(decoder.rows_read()) + " of " + std::to_string(decoder.height()));
  }
}

// Pillow reads every four-channel JPEG as inverted CMYK and converts R = K' - C K' / 255, rounded, on K' = 255 - K.
Image rgb_from_inverted_cmyk(const std::vector<std::uint8_t>& cmyk, std::int64_t height, std::int64_t width) {
  Image image{height, width, std::vector<std::uint8_t>(cmyk.size() / 4 * 3)};
  for (std::size_t i = 0; i < cmyk.size() / 4; ++i) {
    const int black = cmyk[4 * i + 3];
    for (std::size_t channel = 0; channel < 3; ++channel) {
      const int product = (255 - cmyk[4 * i + channel]) * black + 128;
      image.pixels[3 * i + channel] = static_cast<std::uint8_t>(black - ((product + (product >> 8)) >> 8));
    }
  }
  return image;
}

}  // namespace

Image decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name) {
  JpegDecoder decoder(bytes);
  check(decoder.read_header(), decoder, name);
  check_image_size(decoder.height(), decoder.width(), name);
  const std::int64_t height = decoder.height(), width = decoder.width();
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(height * width) * decoder.channels());
  check(decoder.read_pixels(pixels.data()), decoder, name);
  if (decoder.channels() == 4) return rgb_from_inverted_cmyk(pixels, height, width);
  return {height, width, std::move(pixels)};
}

}  // namespace blip2
