#include <tandem/crash_report.hpp>

#include <array>
#include <cstdio>
#include <cstring>
#include <ostream>
#include <string_view>

namespace tandem {

namespace {

std::string signal_text(int signal) {
  std::string text = std::to_string(signal);
  const char* name = ::sigabbrev_np(signal);
  const char* description = ::sigdescr_np(signal);
  if (name != nullptr) {
    text += " (SIG";
    text += name;
    if (description != nullptr) {
      text += ": ";
      text += description;
    }
    text += ")";
  }
  return text;
}

const char* cause_text(cause why) {
  switch (why) {
    case cause::none: return "";
    case cause::requested: return ", as this program asked";
    case cause::deadline: return ", because its deadline had passed";
    case cause::out_of_memory: return ", because memory ran out";
    case cause::cpu_limit: return ", because it had used its CPU time";
    case cause::sandbox: return ", because it did what its sandbox forbids";
    case cause::host_lost: return ", because the fork server that it was cloned from had died";
  }
  return "";
}

const char* ending_name(ending kind) {
  switch (kind) {
    case ending::returned: return "returned";
    case ending::threw: return "threw";
    case ending::exited: return "exited";
    case ending::signalled: return "signalled";
  }
  return "";
}

const char* cause_name(cause why) {
  switch (why) {
    case cause::none: return "none";
    case cause::requested: return "requested";
    case cause::deadline: return "deadline";
    case cause::out_of_memory: return "out_of_memory";
    case cause::cpu_limit: return "cpu_limit";
    case cause::sandbox: return "sandbox";
    case cause::host_lost: return "host_lost";
  }
  return "";
}

// How many bytes at the start of `text` are one UTF-8 sequence, or 0 if they are none (RFC 3629, section 4).
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  std::size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) length = 2;
  if (first >= 0xE0 && first <= 0xEF) length = 3;
  if (first >= 0xF0 && first <= 0xF4) length = 4;
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  if (length == 0 || text.size() < length) return 0;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
  }
  return length;
}

void append_json(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    const char c = text.front();
    if (length == 0) {
      out += "\xEF\xBF\xBD";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::array<char, 8> escaped{};
      std::snprintf(escaped.data(), escaped.size(), "\\u%04x", static_cast<unsigned>(c));
      out += escaped.data();
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out += '"';
}

void append_member(std::string& out, const char* name, std::string_view value) {
  out += '"';
  out += name;
  out += "\":";
  append_json(out, value);
  out += ',';
}

std::string quoted(const char* before, const std::string& name) {
  return name.empty() ? std::string() : std::string(before) + "'" + name + "'";
}

}  // namespace

std::string exit_status::to_string() const {
  switch (kind_) {
    case ending::returned: return "returned";
    case ending::threw: return "threw an exception";
    case ending::exited:
      return "exited with code " + std::to_string(value_) + " before its function had returned" + cause_text(why_);
    case ending::signalled: return "killed by signal " + signal_text(value_) + cause_text(why_);
  }
  return {};
}

std::ostream& operator<<(std::ostream& out, const exit_status& status) { return out << status.to_string(); }

std::string crash_report::to_string() const {
  std::string text = "worker" + quoted(" ", worker) + " (pid " + std::to_string(pid) + ")" + quoted(", task ", task) +
                     " " + status.to_string();
  if (attempt > 1) text += " at attempt " + std::to_string(attempt);
  if (quarantined) text += "; it is not run again";
  if (!exception_type.empty()) text += "; uncaught " + exception_type;
  if (!message.empty()) text += ": " + message;
  if (usage.peak_memory_bytes != 0) {
    text += "; it had used " + std::to_string(usage.cpu_time.count() / 1'000'000) + " ms of CPU time and at most " +
            std::to_string(usage.peak_memory_bytes >> 10) + " KiB of memory";
  }
  if (!standard_error.empty()) text += "; the end of its standard error:\n" + standard_error;
  return text;
}

std::string crash_report::to_json() const {
  std::string out = "{";
  append_member(out, "status", ending_name(status.kind()));
  out += "\"code\":" + std::to_string(status.code()) + ",\"signal\":" + std::to_string(status.signal()) + ",";
  append_member(out, "why", cause_name(status.why()));
  append_member(out, "task", task);
  append_member(out, "worker", worker);
  out += "\"pid\":" + std::to_string(pid) + ",\"attempt\":" + std::to_string(attempt) + ",";
  out += quarantined ? "\"quarantined\":true," : "\"quarantined\":false,";
  append_member(out, "exception_type", exception_type);
  append_member(out, "message", message);
  append_member(out, "standard_error", standard_error);
  out += "\"cpu_time_ns\":" + std::to_string(usage.cpu_time.count()) +
         ",\"peak_memory_bytes\":" + std::to_string(usage.peak_memory_bytes) + "}";
  return out;
}

}  // namespace tandem
