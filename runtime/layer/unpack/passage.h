// Bytes on their way from one process to the next, counted and hashed as they pass.

#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define DIGEST_TEXT_BYTES 65

struct passage {
  int from, to;
  // A file that gets a copy; -1 for none.
  int copy;
  // Called with each new total, to end the program when it is too much.
  void (*check)(uint64_t bytes);
  _Atomic uint64_t bytes;
  // Hexadecimal, once the thread has ended.
  char sha256[DIGEST_TEXT_BYTES];
  pthread_t thread;
};

// Starts a thread that passes bytes on until `from` ends, and closes `to`. When nobody reads any more it goes on hashing:
// whether the layer is bad or was spoilt on its way is told by its digest.
void start_passage(struct passage *passage);
void await_passage(struct passage *passage);
