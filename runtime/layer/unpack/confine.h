// Takes all power away from the process that reads foreign bytes, before it reads the first of them.

#pragma once
#include <stdint.h>

// What is open besides the three standard files and the socket: the entry in hand, and what removing a tree takes.
#define MAX_OPEN_FILES 64u

// To be called as the first process of its namespaces, with its ids mapped and the layer's directory as working directory: that
// becomes its /. SOCKET hangs up when the parent dies.
void confine(int socket);

// For a process that needs no files at all: another user, without privileges, bounded in memory, tied to its parent's life.
void become_nobody(uint32_t user, uint64_t memory);
