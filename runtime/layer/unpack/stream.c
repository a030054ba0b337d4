// libarchive reads every tar dialect there is; this hands it bytes and takes entries.

#include "stream.h"
#include "attributes.h"
#include "die.h"
#include "entries.h"
#include "filter.h"
#include "links.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)

static la_ssize_t read_stream(struct archive *tar, void *context, const void **block) {
  (void)tar, (void)context;
  static char buffer[READ_BYTES];
  ssize_t size;
  do size = read(STDIN_FILENO, buffer, sizeof buffer);
  while (size < 0 && errno == EINTR);
  if (size < 0) host_failed("reading the layer");
  *block = buffer;
  return size;
}

static struct archive *open_tar(void) {
  struct archive *tar = archive_read_new();
  // A stream of no bytes at all is a layer that changes nothing.
  if (!tar || archive_read_support_format_tar(tar) != ARCHIVE_OK ||
      archive_read_support_format_empty(tar) != ARCHIVE_OK)
    die(HOST_FAILED, "cannot set up the tar reader");
  if (archive_read_open(tar, NULL, NULL, read_stream, NULL) != ARCHIVE_OK)
    die(LAYER_REFUSED, "not a tar stream: %s", archive_error_string(tar));
  return tar;
}

// A warning is about a name's character set; the bytes of the name are taken as they are.
void unpack_stream(void) {
  allow_only_unpacking();
  struct archive *tar = open_tar();
  struct archive_entry *entry;
  int status;
  remember_directory_time(NO_TIME, ".");
  while ((status = archive_read_next_header(tar, &entry)) == ARCHIVE_OK || status == ARCHIVE_WARN)
    unpack_entry(tar, entry);
  if (status != ARCHIVE_EOF) die(LAYER_REFUSED, "not a valid tar stream: %s", archive_error_string(tar));
  make_waiting_links();
  set_directory_times();
  const void *rest;
  while (read_stream(tar, NULL, &rest) > 0) {} // The padding is part of what the caller hashes.
}
