// Hashing stands outside of all parsing: what untars and what decompresses can be taken over by what they read, and must not
// be believed when they say what they have read.

#include "passage.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "die.h"

#define BUFFER_BYTES (256u << 10)
// Of the copy, after how much the kernel is asked to begin writing it to disk: the flush at the end then finds little to do.
#define WRITEBACK_BYTES (8u << 20)

static bool write_all(int fd, const unsigned char *bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t written = write(fd, bytes + done, size - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    done += (size_t)written;
  }
  return true;
}

static void write_copy(int fd, const unsigned char *bytes, size_t size, uint64_t before) {
  if (!write_all(fd, bytes, size)) host_failed("keeping the layer's blob");
  if (before / WRITEBACK_BYTES != (before + size) / WRITEBACK_BYTES)
    sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); // Only a hint: the flush at the end is what counts.
}

static void hand_on(struct passage *passage, const unsigned char *bytes, size_t size) {
  if (passage->to < 0 || write_all(passage->to, bytes, size)) return;
  if (errno != EPIPE) host_failed("handing on the layer");
  close(passage->to);
  passage->to = -1;
}

static void write_hex(char text[DIGEST_TEXT_BYTES], const unsigned char *bytes, unsigned count) {
  for (unsigned i = 0; i < count; i++) sprintf(text + 2 * i, "%02x", bytes[i]);
}

static void *pass(void *argument) {
  struct passage *passage = argument;
  unsigned char *buffer = malloc(BUFFER_BYTES), digest[EVP_MAX_MD_SIZE];
  EVP_MD_CTX *hash = EVP_MD_CTX_new();
  if (!buffer || !hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1) die(HOST_FAILED, "cannot set up hashing");
  for (;;) {
    ssize_t size = read(passage->from, buffer, BUFFER_BYTES);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) host_failed("reading the layer");
    if (size == 0) break;
    uint64_t before = atomic_fetch_add(&passage->bytes, (uint64_t)size);
    passage->check(before + (uint64_t)size);
    if (EVP_DigestUpdate(hash, buffer, (size_t)size) != 1) die(HOST_FAILED, "cannot hash");
    hand_on(passage, buffer, (size_t)size);
    if (passage->copy >= 0) write_copy(passage->copy, buffer, (size_t)size, before);
  }
  unsigned count;
  if (EVP_DigestFinal_ex(hash, digest, &count) != 1) die(HOST_FAILED, "cannot hash");
  write_hex(passage->sha256, digest, count);
  EVP_MD_CTX_free(hash);
  free(buffer);
  if (passage->to >= 0) close(passage->to);
  return NULL;
}

void start_passage(struct passage *passage) {
  if ((errno = pthread_create(&passage->thread, NULL, pass, passage))) host_failed("starting a thread");
}

void await_passage(struct passage *passage) { pthread_join(passage->thread, NULL); }
