// Segment an image with an exported ONNX file: onnxruntime alone, without Python.
//
//   g++ -O2 -std=c++17 segment.cpp -o segment
//       -I/usr/include/onnxruntime -I/usr/include/stb -lonnxruntime
//   ./segment street.onnx street.png labels.png overlay.png
//
// The file takes the camera's frame as it is and gives the class of each pixel: order of
// channels, normalisation and the exact label map are inside. A camera's loop calls
// `labels_of` for each frame. Images are read and written by the stb headers.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <onnxruntime_cxx_api.h>
#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image_write.h>

constexpr int kSmallest = 33;  // pixels each way

struct Image {
  int64_t height, width;
  std::vector<uint8_t> rgb;  // height x width x 3
};

// What the file says of itself, as JSON under the name of the project.
std::string description_of(const Ort::Session& session) {
  Ort::AllocatorWithDefaultOptions allocator;
  auto text = session.GetModelMetadata().LookupCustomMetadataMapAllocated(
      "mmseg_fastscnn", allocator);
  if (!text) throw std::runtime_error("The file was not made by mmseg_fastscnn export.");
  return text.get();
}

// The text after a key of the description, where its value begins.
std::string value_of(const std::string& description, const std::string& key) {
  const auto at = description.find("\"" + key + "\": ");
  if (at == std::string::npos) throw std::runtime_error("The file has no " + key + ".");
  return description.substr(at + key.size() + 4);
}

// Refuse files that need more than this example does.
void check(const std::string& description) {
  if (value_of(description, "output").rfind("\"labels\"", 0) != 0)
    throw std::runtime_error("Export the checkpoint with --output labels.");
  if (value_of(description, "channels").rfind("3", 0) != 0)
    throw std::runtime_error("The network does not read images of 3 channels.");
  if (value_of(description, "scale").rfind("null", 0) != 0)
    throw std::runtime_error("The network wants resized frames, see its config's Resize.");
}

// The colour of each class: [[r, g, b], [r, g, b], ...]
std::vector<std::array<uint8_t, 3>> palette_of(const std::string& description) {
  std::vector<std::array<uint8_t, 3>> colours;
  const std::string text = value_of(description, "palette");
  const char* at = text.c_str();
  for (const char* end = at + text.find("]]"); at < end;) {
    std::array<uint8_t, 3> colour{};
    for (auto& part : colour) {
      while (at < end && (*at < '0' || *at > '9')) ++at;
      char* after = nullptr;
      part = static_cast<uint8_t>(std::strtol(at, &after, 10));
      at = after;
    }
    colours.push_back(colour);
  }
  return colours;
}

Image read_image(const std::string& path) {
  int width = 0, height = 0, channels = 0;
  uint8_t* pixels = stbi_load(path.c_str(), &width, &height, &channels, 3);
  if (!pixels) throw std::runtime_error(path + ": " + stbi_failure_reason() + ".");
  Image image{height, width, {pixels, pixels + 3LL * height * width}};
  stbi_image_free(pixels);
  if (width < kSmallest || height < kSmallest)
    throw std::runtime_error(path + ": must have at least 33 pixels each way.");
  return image;
}

// The class of each pixel, height x width. `frame` is BGR, as cameras give it.
std::vector<uint8_t> labels_of(Ort::Session& session, std::vector<uint8_t>& frame,
                               int64_t height, int64_t width) {
  const std::array<int64_t, 4> shape{1, height, width, 3};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto input = Ort::Value::CreateTensor<uint8_t>(
      memory, frame.data(), frame.size(), shape.data(), shape.size());
  const char *in = "frame", *out = "labels";
  auto results = session.Run(Ort::RunOptions{}, &in, &input, 1, &out, 1);
  const uint8_t* labels = results[0].GetTensorData<uint8_t>();
  return {labels, labels + height * width};
}

void write_png(const std::string& path, const Image& image, int channels,
               const std::vector<uint8_t>& pixels) {
  if (std::filesystem::exists(path)) throw std::runtime_error(path + " exists.");
  if (!stbi_write_png(path.c_str(), image.width, image.height, channels, pixels.data(),
                      image.width * channels))
    throw std::runtime_error(path + " cannot be written.");
}

int main(int count, char** words) try {
  if (count != 5) {
    std::cerr << "usage: segment MODEL.onnx IMAGE LABELS.png OVERLAY.png\n";
    return 2;
  }
  Ort::Env environment(ORT_LOGGING_LEVEL_ERROR);
  Ort::Session session(environment, words[1], Ort::SessionOptions{});
  const std::string description = description_of(session);
  check(description);

  Image image = read_image(words[2]);
  std::vector<uint8_t> frame = image.rgb;
  for (size_t k = 0; k < frame.size(); k += 3) std::swap(frame[k], frame[k + 2]);
  const auto labels = labels_of(session, frame, image.height, image.width);
  write_png(words[3], image, 1, labels);

  const auto colours = palette_of(description);
  for (size_t k = 0; k < image.rgb.size(); ++k)
    image.rgb[k] = (image.rgb[k] + colours.at(labels[k / 3])[k % 3] + 1) / 2;
  write_png(words[4], image, 3, image.rgb);
} catch (const std::exception& error) {
  std::cerr << "segment: " << error.what() << "\n";
  return 2;
}
