// Where an entry goes. Every path is relative to /, and / is the layer's directory.

#pragma once
#include <stdbool.h>

// "./a//b/" becomes "a/b", the root becomes ".". Absolute names lose their leading slash, as with every other tool.
// `..` has no honest use in a layer, and is refused rather than resolved.
// PATH has room for PATH_MAX bytes.
void normalise(const char *raw, char *path);

bool has_prefix(const char *text, const char *prefix);

// The directory that PATH's last name is in, which is made if it is missing. PATH is as it was afterwards.
int open_parent(char *path);

// A later entry of the same name replaces an earlier one, whatever either is.
void remove_existing(int parent, const char *name, const char *path);

// An existing directory stays.
void make_directory_at(int parent, const char *name, const char *path);
int open_directory_at(int parent, const char *name, const char *path);

// Hides what lower layers have in the directory.
void mark_opaque(int directory);
void mark_opaque_at(int parent, const char *name, const char *path);
// The socket to the parent, who does it. To be set before the first entry.
extern int parent_socket;
