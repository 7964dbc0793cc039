// Encrypted streams: OpenSSL's libssl over our own reading and writing, which never waits and raises no SIGPIPE.
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <vector>

#include <tandem/error.hpp>

#include "channel/crypto.hpp"

namespace tandem::channel {

namespace {

std::string openssl_reason() {
  const unsigned long code = ::ERR_peek_last_error();
  const char* const reason = code != 0 ? ::ERR_reason_error_string(code) : nullptr;
  return reason != nullptr ? reason : "no reason was given";
}

/// An alert of the peer, or an error of our own, that says: this certificate will not do.
bool is_about_certificates() {
  const unsigned long code = ::ERR_peek_last_error();
  if (ERR_GET_LIB(code) != ERR_LIB_SSL) return false;
  const int reason = ERR_GET_REASON(code);
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED || reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) return true;
  const int alert = reason - SSL_AD_REASON_OFFSET;
  return (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_ACCESS_DENIED) || alert == 116;  // certificate_required
}

template <auto Free>
struct freed {
  template <class T>
  void operator()(T* p) const noexcept {
    Free(p);
  }
};

// ---- reading and writing for OpenSSL --------------------------------------------------------------------------------

int descriptor_of(BIO* bio) { return static_cast<int>(reinterpret_cast<std::intptr_t>(::BIO_get_data(bio))); }

// The BIO's convention: -1 and a retry flag for "not now".
int bio_result(BIO* bio, long n, void (*retry)(BIO*)) {
  ::BIO_clear_retry_flags(bio);
  if (n == -EAGAIN) retry(bio);
  return n < 0 ? -1 : static_cast<int>(n);
}
int bio_read(BIO* bio, char* to, int size) {
  const long n =
      os::receive_bytes_now(descriptor_of(bio), std::as_writable_bytes(std::span(to, static_cast<std::size_t>(size))));
  return bio_result(bio, n, [](BIO* b) { BIO_set_retry_read(b); });
}
int bio_write(BIO* bio, const char* from, int size) {
  const long n =
      os::send_bytes_now(descriptor_of(bio), {std::as_bytes(std::span(from, static_cast<std::size_t>(size)))});
  return bio_result(bio, n, [](BIO* b) { BIO_set_retry_write(b); });
}
long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* bio_method() {
  static BIO_METHOD* const made = [] {
    BIO_METHOD* const m = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tandem");
    if (m == nullptr) throw std::bad_alloc();
    ::BIO_meth_set_read(m, bio_read);
    ::BIO_meth_set_write(m, bio_write);
    ::BIO_meth_set_ctrl(m, bio_control);
    return m;
  }();
  return made;
}

}  // namespace

// ---- certificates ---------------------------------------------------------------------------------------------------

class tls_context {
 public:
  tls_context(const tls_options& options, bool of_listener) : of_listener_(of_listener) {
    if (of_listener && (options.certificate.empty() || options.private_key.empty())) {
      throw std::invalid_argument("tandem: a listener with .tls needs .certificate and .private_key");
    }
    context_.reset(::SSL_CTX_new(of_listener ? ::TLS_server_method() : ::TLS_client_method()));
    if (!context_) throw std::bad_alloc();
    SSL_CTX* const c = context_.get();
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    ::SSL_CTX_set_default_passwd_cb(c, [](char*, int, int, void*) { return -1; });  // else the terminal is asked
    ::SSL_CTX_set_num_tickets(c, 0);  // after the handshake the descriptor is readable for messages only
    if (!options.certificate.empty()) {
      require(::SSL_CTX_use_certificate_chain_file(c, options.certificate.c_str()), "certificate", options.certificate);
      require(::SSL_CTX_use_PrivateKey_file(c, options.private_key.c_str(), SSL_FILETYPE_PEM), "private key",
              options.private_key);
    }
    if (!options.authority.empty()) {
      require(::SSL_CTX_load_verify_locations(c, options.authority.c_str(), nullptr), "authority", options.authority);
    } else if (!of_listener) {
      ::SSL_CTX_set_default_verify_paths(c);
    }
    const bool checks = !of_listener || !options.authority.empty();
    ::SSL_CTX_set_verify(c, checks ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE, nullptr);
  }
  SSL_CTX* get() const noexcept { return context_.get(); }
  bool of_listener() const noexcept { return of_listener_; }

 private:
  static void require(int done, const char* what, const std::filesystem::path& file) {
    if (done == 1) return;
    const std::string reason = openssl_reason();
    ::ERR_clear_error();
    throw tandem::error(std::string("tandem: the ") + what + " in " + file.string() + " cannot be used: " + reason +
                        " (it is to be a PEM file, without a passphrase)");
  }

  bool of_listener_;
  std::unique_ptr<SSL_CTX, freed<::SSL_CTX_free>> context_;
};

std::shared_ptr<tls_context> make_tls_context(const tls_options& options, bool of_listener) {
  return std::make_shared<tls_context>(options, of_listener);
}

// ---- the stream -----------------------------------------------------------------------------------------------------

namespace {

class openssl_bytes final : public tls_bytes {
 public:
  openssl_bytes(std::shared_ptr<tls_context> context, file_descriptor socket, const std::string& server_name)
      : context_(std::move(context)), socket_(std::move(socket)), ssl_(::SSL_new(context_->get())) {
    BIO* const bio = ssl_ ? ::BIO_new(bio_method()) : nullptr;
    if (bio == nullptr) throw std::bad_alloc();
    ::BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(socket_.get())));
    ::BIO_set_init(bio, 1);
    ::SSL_set_bio(ssl_.get(), bio, bio);
    if (context_->of_listener()) {
      ::SSL_set_accept_state(ssl_.get());
    } else {
      expect(server_name);
      ::SSL_set_connect_state(ssl_.get());
    }
  }
  ~openssl_bytes() override {
    // A copy in a child made by fork() ends nothing.
    if (shaken_ && !failed_ && os::own_pid() == owner_) ::SSL_shutdown(ssl_.get());  // says that this end was meant
    ::ERR_clear_error();
  }
  openssl_bytes(const openssl_bytes&) = delete;
  openssl_bytes& operator=(const openssl_bytes&) = delete;

  bool shake() override {
    const std::lock_guard lock(mutex_);
    ::ERR_clear_error();
    const int done = ::SSL_do_handshake(ssl_.get());
    if (done == 1) return shaken_ = true;
    const int error = ::SSL_get_error(ssl_.get(), done);
    shaking_writes_ = error == SSL_ERROR_WANT_WRITE;
    if (shaking_writes_ || error == SSL_ERROR_WANT_READ) return false;
    failed_ = true;
    if (is_about_certificates()) throw_certificate();
    throw broken_connection("tandem: the peer speaks no TLS, or hung up: " + openssl_reason());
  }
  bool waits_to_write_for_shaking() const noexcept override { return shaking_writes_; }

  long read(std::span<std::byte> into, bool) override {
    require_owner();
    const std::lock_guard lock(mutex_);
    std::size_t n = 0;
    ::ERR_clear_error();
    const int done = ::SSL_read_ex(ssl_.get(), into.data(), into.size(), &n);
    return done == 1 ? static_cast<long>(n) : explain(done, reading_writes_);
  }

  long write(parts from, bool) override {
    require_owner();
    const std::lock_guard lock(mutex_);
    if (!flush_pending()) return last_;
    // One record for the beginning of a message, so that no record has parts of two.
    std::array<std::byte, 16384> record;
    std::size_t size = 0;
    for (const auto& part : from) {
      const std::size_t count = std::min(part.size(), record.size() - size);
      std::copy_n(part.begin(), count, record.begin() + static_cast<std::ptrdiff_t>(size));
      size += count;
    }
    pending_.assign(record.begin(), record.begin() + static_cast<std::ptrdiff_t>(size));
    if (!flush_pending() && last_ != -EAGAIN) return last_;
    return static_cast<long>(size);  // what OpenSSL has begun to send goes out before anything else
  }
  long flush() override {
    const std::lock_guard lock(mutex_);
    return flush_pending() ? 0 : last_;
  }
  bool holds_bytes() const noexcept override {
    const std::lock_guard lock(mutex_);
    return ::SSL_pending(ssl_.get()) > 0;
  }
  bool waits_to_write(bool writing) const noexcept override { return writing ? !writing_reads_ : reading_writes_; }
  bool can_be_passed_on() const noexcept override { return false; }
  const file_descriptor& socket() const noexcept override { return socket_; }

 private:
  // Two that go on from the same keys and counts would spoil the connection for both.
  void require_owner() const {
    if (os::own_pid() == owner_) return;
    throw tandem::error(
        "tandem: a connection with .tls is of the process that made it: a child made by fork() can only close its "
        "copy");
  }

  void expect(const std::string& server_name) {
    const bool is_number =
        server_name.find(':') != std::string::npos || server_name.find_first_not_of("0123456789.") == std::string::npos;
    const int done = is_number ? ::X509_VERIFY_PARAM_set1_ip_asc(::SSL_get0_param(ssl_.get()), server_name.c_str())
                               : ::SSL_set1_host(ssl_.get(), server_name.c_str());
    if (done != 1) throw std::invalid_argument("tandem: \"" + server_name + "\" is no name of a host");
    if (!is_number) SSL_set_tlsext_host_name(ssl_.get(), server_name.c_str());
  }

  [[noreturn]] void throw_certificate() const {
    const long verdict = ::SSL_get_verify_result(ssl_.get());
    throw authentication_failed(
        "tandem: a certificate is not good: " +
        (verdict != X509_V_OK ? std::string(::X509_verify_cert_error_string(verdict)) : openssl_reason()));
  }

  // Minus errno, or 0 at the end.
  long explain(int done, bool& other_way) {
    const int error = ::SSL_get_error(ssl_.get(), done);
    other_way = error == SSL_ERROR_WANT_WRITE;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return -EAGAIN;
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    failed_ = true;
    if (is_about_certificates()) throw_certificate();
    return -EPROTO;  // also an end that the peer did not mean: a message might be missing
  }

  bool flush_pending() {
    if (pending_.empty()) return true;
    std::size_t sent = 0;
    ::ERR_clear_error();
    bool wants_write = false;
    const int done = ::SSL_write_ex(ssl_.get(), pending_.data(), pending_.size(), &sent);
    if (done != 1) {
      last_ = explain(done, wants_write);
      if (last_ == 0) last_ = -EPIPE;
      writing_reads_ = last_ == -EAGAIN && !wants_write;
      return false;
    }
    pending_.clear();
    return true;
  }

  std::shared_ptr<tls_context> context_;
  file_descriptor socket_;
  std::unique_ptr<SSL, freed<::SSL_free>> ssl_;
  mutable std::mutex mutex_;        // of the SSL object: one thread may read while another writes
  std::vector<std::byte> pending_;  // given to OpenSSL, which wants it again until it is sent
  long last_ = 0;
  const pid_t owner_ = os::own_pid();
  bool shaken_ = false;
  bool failed_ = false;
  bool shaking_writes_ = false;
  bool reading_writes_ = false;
  bool writing_reads_ = false;
};

}  // namespace

std::unique_ptr<tls_bytes> make_tls(const std::shared_ptr<tls_context>& context, file_descriptor socket,
                                    const std::string& server_name) {
  return std::make_unique<openssl_bytes>(context, std::move(socket), server_name);
}

}  // namespace tandem::channel
