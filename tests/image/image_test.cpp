#include "blip2/image/image.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <opencv2/imgcodecs.hpp>
#include <string>

#include "blip2/core/config.h"
#include "blip2/core/read_file.h"
#include "image/fingerprint.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace blip2 {
namespace {

const std::filesystem::path kData = std::filesystem::path(BLIP2_TEST_DATA) / "image";

std::vector<std::uint8_t> bytes_of(const std::string& file) {
  return read_file(kData / file, 1 << 20);
}

std::vector<std::uint8_t> cut(const std::string& file, double share) {
  auto bytes = bytes_of(file);
  bytes.resize(static_cast<std::size_t>(static_cast<double>(bytes.size()) * share));
  return bytes;
}

TEST(DecodeImage, EveryFormatEqualsPillow) {
  const auto expected = load_json(kData / "expected.json").at("decoded");
  ASSERT_EQ(expected.size(), 26U);
  for (const auto& entry : expected) {
    const std::string file = entry.at("file");
    const Image image = load_image(kData / file);
    EXPECT_EQ(image.height, entry.at("height").get<std::int64_t>()) << file;
    EXPECT_EQ(image.width, entry.at("width").get<std::int64_t>()) << file;
    EXPECT_EQ(fingerprint(image.pixels), entry.at("pixels").get<std::string>()) << file;
  }
}

TEST(DecodeImage, SixteenBitGreyIsClippedNotScaled) {
  const Image image = load_image(kData / "l16.png");  // a ramp from 0 to 700
  EXPECT_EQ(image.pixels.front(), 0);
  EXPECT_EQ(image.pixels.back(), 255);
  EXPECT_GT(std::count(image.pixels.begin(), image.pixels.end(), 255),
            static_cast<std::ptrdiff_t>(image.pixels.size() / 2));
}

TEST(DecodeImage, AlphaIsDroppedForRgbAndKeptForRgba) {
  for (const char* file : {"rgba.png", "la.png", "palette_transparent.png"}) {
    const Image rgb = load_image(kData / file);
    const ImageRgba rgba = load_image_rgba(kData / file);
    ASSERT_EQ(rgba.pixels.size() / 4, rgb.pixels.size() / 3) << file;
    bool transparent = false;
    for (std::size_t i = 0; i < rgb.pixels.size() / 3; ++i) {
      for (std::size_t c = 0; c < 3; ++c) ASSERT_EQ(rgba.pixels[4 * i + c], rgb.pixels[3 * i + c]) << file;
      transparent |= rgba.pixels[4 * i + 3] < 255;
    }
    EXPECT_TRUE(transparent) << file;
  }
}

TEST(DecodeImage, RgbaAlphaIsTheFilesOwn) {
  const ImageRgba image = load_image_rgba(kData / "rgba.png");  // alpha runs from 0 to 255, left to right
  ASSERT_EQ(image.width, 64);
  EXPECT_EQ(image.pixels[3], 0);
  EXPECT_EQ(image.pixels[4 * 32 + 3], 129);
  EXPECT_EQ(image.pixels[4 * 63 + 3], 255);
}

TEST(DecodeImage, PicturesWithoutAlphaAreOpaque) {
  for (const char* file : {"rgb.png", "l.png", "bilevel.png", "l16.png", "rgb16.png", "gray.jpg", "cmyk.jpg"}) {
    const ImageRgba image = load_image_rgba(kData / file);
    const Image rgb = load_image(kData / file);
    for (std::size_t i = 0; i < image.pixels.size() / 4; ++i) {
      ASSERT_EQ(image.pixels[4 * i + 3], 255) << file;
      ASSERT_EQ(image.pixels[4 * i + 2], rgb.pixels[3 * i + 2]) << file;
    }
  }
}

TEST(DecodeImage, MissingFileIsOneSentence) {
  EXPECT_USER_ERROR(load_image("/nowhere/cat.jpg"), "cannot open '/nowhere/cat.jpg': no such file");
}

TEST(DecodeImage, OtherBytesAreNoPicture) {
  const std::string text = "GIF87a or whatever this may be, it is no picture";
  const std::vector<std::uint8_t> bytes(text.begin(), text.end());
  EXPECT_USER_ERROR(decode_image(bytes, "x.txt"), "'x.txt' is not a picture that can be read (JPEG, PNG, WebP");
  EXPECT_USER_ERROR(decode_image({}, "empty"), "'empty' is not a picture");
}

TEST(DecodeImage, TruncatedJpegSaysWhereItEnds) {
  EXPECT_USER_ERROR(load_image(kData / "truncated.jpg"),
                    "truncated.jpg' is a JPEG that was cut short: it ends after row");
  EXPECT_USER_ERROR(load_image(kData / "truncated.jpg"), " of 120");
  EXPECT_USER_ERROR(decode_image(cut("progressive.jpg", 0.5), "p"), "'p' is a JPEG that was cut short");
  EXPECT_USER_ERROR(decode_image(cut("rgb_420.jpg", 0.02), "header"), "'header' is a JPEG that was cut short");
}

TEST(DecodeImage, EveryShorterFileIsRefusedWithOneSentence) {
  for (const char* file : {"rgb_420.jpg", "rgb.png", "lossy.webp", "lossless.webp", "progressive.jpg"}) {
    const auto whole = bytes_of(file);
    for (std::size_t length = 0; length + 2 < whole.size(); length += 1 + whole.size() / 60) {
      const std::span<const std::uint8_t> part(whole.data(), length);
      EXPECT_USER_ERROR(decode_image(part, file), std::string("'") + file + "' is ");
    }
  }
}

TEST(DecodeImage, DamagedPngAndJpeg) {
  auto png = bytes_of("rgb.png");
  for (std::size_t i = png.size() / 2; i < png.size() / 2 + 40; ++i) png[i] ^= 0x5a;
  EXPECT_USER_ERROR(decode_image(png, "spoiled.png"), "'spoiled.png' is a damaged PNG");
  auto jpeg = bytes_of("rgb_420.jpg");
  jpeg[2] = 0xff;
  jpeg[3] = 0xd8;  // a second start of image
  EXPECT_USER_ERROR(decode_image(jpeg, "spoiled.jpg"), "'spoiled.jpg' is a damaged JPEG (libjpeg: ");
}

TEST(DecodeImage, HugeClaimsAreRefusedBeforeDecoding) {
  auto png = bytes_of("rgb.png");
  png[16] = 0x00, png[17] = 0x10, png[20] = 0x00, png[21] = 0x10;  // 2^20 by 2^20 and a bit
  EXPECT_USER_ERROR(decode_image(png, "bomb.png"),
                    "'bomb.png' claims to be 1048666 x 1048646 pixels; pictures of 1 to");
  auto webp = bytes_of("lossless.webp");
  for (std::size_t i = 21; i < 25; ++i) webp[i] = 0xff;
  EXPECT_USER_ERROR(decode_image(webp, "bomb.webp"), "'bomb.webp' claims to be 16384 x 16384 pixels");
  auto jpeg = bytes_of("gray.jpg");
  std::size_t frame = 0;
  while (jpeg[frame] != 0xff || jpeg[frame + 1] != 0xc0) ++frame;
  for (std::size_t i = 5; i < 9; ++i) jpeg[frame + i] = 0xf0;
  EXPECT_USER_ERROR(decode_image(jpeg, "bomb.jpg"), "'bomb.jpg' claims to be 61680 x 61680 pixels");
  std::vector<std::uint8_t> bmp(54, 0);  // 20480 x -20480, 24 bits: the rows stand from above
  bmp[0] = 'B', bmp[1] = 'M', bmp[10] = 54, bmp[14] = 40, bmp[26] = 1, bmp[28] = 24;
  bmp[19] = 0x50, bmp[23] = 0xb0, bmp[24] = 0xff, bmp[25] = 0xff;
  EXPECT_USER_ERROR(decode_image(bmp, "bomb.bmp"), "'bomb.bmp' claims to be 20480 x 20480 pixels");
  bmp[14] = 12, bmp[20] = 0x00, bmp[21] = 0x50;  // the same in OS/2's short header
  EXPECT_USER_ERROR(decode_image(bmp, "bomb.bmp"), "'bomb.bmp' claims to be 20480 x 20480 pixels");
}

std::vector<std::uint8_t> tiff_of(const Image& image) {
  cv::Mat bgr(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) bgr.data[i - i % 3 + 2 - i % 3] = image.pixels[i];
  std::vector<std::uint8_t> bytes;
  cv::imencode(".tiff", bgr, bytes);
  return bytes;
}

TEST(DecodeImage, TiffIsReadAndItsSizeIsLookedAtFirst) {
  const Image image = load_image(kData / "noise.png");
  auto tiff = tiff_of(image);
  EXPECT_EQ(decode_image(tiff, "noise.tiff").pixels, image.pixels);
  ASSERT_EQ(tiff[0], 'I');  // little-endian
  const std::size_t directory = tiff[4] | tiff[5] << 8 | tiff[6] << 16;
  std::size_t entry = directory + 2;
  while (tiff[entry] != 0x01 || tiff[entry + 1] != 0x01) entry += 12;  // 257, the height
  const auto healthy = tiff;
  tiff[entry + 2] = 4, tiff[entry + 8] = 0, tiff[entry + 9] = 0, tiff[entry + 10] = 0, tiff[entry + 11] = 0x40;
  EXPECT_USER_ERROR(decode_image(tiff, "bomb.tiff"),
                    "'bomb.tiff' claims to be 33 x 1073741824 pixels; pictures of 1 to");
  for (const std::size_t length : {std::size_t{4}, std::size_t{9}, directory + 1, directory + 20}) {
    EXPECT_USER_ERROR(decode_image(std::span(healthy.data(), std::min(length, healthy.size() - 8)), "cut.tiff"),
                      "'cut.tiff' is a");
  }
  tiff = healthy;
  tiff[7] = 0x7f;  // the directory would lie 2 GB behind
  EXPECT_USER_ERROR(decode_image(tiff, "far.tiff"),
                    "'far.tiff' is a TIFF that was cut short or is damaged: its first directory is not whole");
}

TEST(DecodeImage, TiffInColoursThatPillowReadsOtherwiseIsRefused) {
  const auto tiff = tiff_of(load_image(kData / "noise.png"));
  const std::size_t directory = tiff[4] | tiff[5] << 8 | tiff[6] << 16;
  const auto with = [&](int tag, std::uint8_t value) {
    auto changed = tiff;
    std::size_t entry = directory + 2;
    while ((changed[entry] | changed[entry + 1] << 8) != tag) entry += 12;
    changed[entry + 8] = value;
    return changed;
  };
  constexpr int kColours = 262, kSamples = 277;
  EXPECT_USER_ERROR(decode_image(with(kColours, 5), "x"), "'x' is a TIFF in CMYK, which Pillow would read otherwise");
  EXPECT_USER_ERROR(decode_image(with(kColours, 6), "x"), "'x' is a TIFF in YCbCr");
  EXPECT_USER_ERROR(decode_image(with(kColours, 8), "x"), "'x' is a TIFF in CIELAB");
  EXPECT_USER_ERROR(decode_image(with(kColours, 77), "x"), "'x' is a TIFF in colours of an unusual kind");
  EXPECT_USER_ERROR(decode_image(with(kSamples, 4), "x"), "'x' is a TIFF with alpha");
}

/** Length, type, data and a wrong checksum. */
std::vector<std::uint8_t> png_chunk(const std::string& type, const std::string& data) {
  std::vector<std::uint8_t> chunk{0, 0, 0, static_cast<std::uint8_t>(data.size())};
  chunk.insert(chunk.end(), type.begin(), type.end());
  chunk.insert(chunk.end(), data.begin(), data.end());
  chunk.insert(chunk.end(), 4, 0);
  return chunk;
}

TEST(DecodeImage, WhatAPngHoldsBesideItsPixelsIsPassedOverInSilence) {
  const Image expected = load_image(kData / "rgb.png");
  auto png = bytes_of("rgb.png");
  constexpr std::ptrdiff_t kBehindHeader = 33;
  for (const auto& chunk : {png_chunk("iCCP", "profile"), png_chunk("gAMA", "????"), png_chunk("tEXt", "k")}) {
    png.insert(png.begin() + kBehindHeader, chunk.begin(), chunk.end());
  }
  testing::internal::CaptureStderr();
  EXPECT_EQ(decode_image(png, "x").pixels, expected.pixels);
  const auto palette = png_chunk("PLTE", "abc");
  png.insert(png.begin() + kBehindHeader, palette.begin(), palette.end());
  EXPECT_USER_ERROR(decode_image(png, "x"), "'x' is a damaged PNG: the checksum of a chunk is wrong");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

/** An animation of one frame, the still picture, `offset` from the left. */
std::vector<std::uint8_t> animation_of(const std::vector<std::uint8_t>& still, std::uint8_t offset) {
  const Image size = decode_image(still, "still");
  const auto three = [](std::vector<std::uint8_t>& to, std::int64_t value) {
    for (int i = 0; i < 3; ++i) to.push_back(static_cast<std::uint8_t>(value >> 8 * i));
  };
  const auto four = [&](std::vector<std::uint8_t>& to, std::size_t value) {
    three(to, static_cast<std::int64_t>(value));
    to.push_back(static_cast<std::uint8_t>(value >> 24));
  };
  const auto text = [](std::vector<std::uint8_t>& to, const std::string& name) {
    to.insert(to.end(), name.begin(), name.end());
  };
  std::vector<std::uint8_t> bytes;
  text(bytes, "RIFF????WEBPVP8X");
  four(bytes, 10);
  four(bytes, 2);  // animated
  three(bytes, size.width - 1);
  three(bytes, size.height - 1);
  text(bytes, "ANIM");
  four(bytes, 6);
  bytes.insert(bytes.end(), 6, 0);
  text(bytes, "ANMF");
  four(bytes, 16 + still.size() - 12);
  three(bytes, offset);
  three(bytes, 0);
  three(bytes, size.width - 1);
  three(bytes, size.height - 1);
  four(bytes, 100);  // duration and flags
  bytes.insert(bytes.end(), still.begin() + 12, still.end());
  std::vector<std::uint8_t> length;
  four(length, bytes.size() - 8);
  std::copy(length.begin(), length.end(), bytes.begin() + 4);
  return bytes;
}

TEST(DecodeImage, OfAnAnimatedWebpTheFirstFrame) {
  for (const char* file : {"lossless.webp", "lossy.webp"}) {
    const auto still = bytes_of(file);
    ASSERT_NE(still[15], 'X') << file;  // one chunk and no more
    EXPECT_EQ(decode_image(animation_of(still, 0), file).pixels, load_image(kData / file).pixels) << file;
    EXPECT_USER_ERROR(decode_image(animation_of(still, 1), "x"), "whose first frame does not fill the picture");
    const auto whole = animation_of(still, 0);
    for (std::size_t length = 0; length + 2 < whole.size(); length += 1 + whole.size() / 60) {
      EXPECT_USER_ERROR(decode_image(std::span(whole.data(), length), "x"), "'x' is ");
    }
  }
}

TEST(DecodeImage, FormatsThatOpenCvKnowsBesideAreRefused) {
  const std::string ppm = "P6 1 1 255 abc";
  EXPECT_USER_ERROR(decode_image({reinterpret_cast<const std::uint8_t*>(ppm.data()), ppm.size()}, "x.ppm"),
                    "'x.ppm' is not a picture that can be read (JPEG, PNG, WebP, BMP or TIFF)");
  const std::string bmp = "BM and no more";
  EXPECT_USER_ERROR(decode_image({reinterpret_cast<const std::uint8_t*>(bmp.data()), bmp.size()}, "x.bmp"),
                    "'x.bmp' is a BMP that was cut short");
}

TEST(EncodePng, DecodesToTheSamePixels) {
  const Image image = load_image(kData / "noise.png");
  const TemporaryFolder folder;
  for (const int compression : {0, 1, 9}) {
    save_png(image, folder.path() / "copy.png", compression);
    const Image copy = load_image(folder.path() / "copy.png");
    EXPECT_EQ(copy.height, image.height);
    EXPECT_EQ(copy.width, image.width);
    EXPECT_EQ(copy.pixels, image.pixels);
  }
  EXPECT_WORLD_ERROR(save_png(image, folder.path() / "none" / "copy.png"), "none/copy.png'");
}

}  // namespace
}  // namespace blip2
