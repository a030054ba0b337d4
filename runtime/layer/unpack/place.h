// Where an entry goes. Every path is relative to /, and / is the layer's directory.

#pragma once
#include <stdbool.h>
#include <sys/stat.h>

// "./a//b/" becomes "a/b", the root becomes ".". Absolute names lose their leading slash, as with every other tool.
// `..` has no honest use in a layer, and is refused rather than resolved.
// PATH has room for PATH_MAX bytes.
void normalise(const char *raw, char *path);

bool has_prefix(const char *text, const char *prefix);

// The directory that PATH's last name is in, which is made if it is missing. PATH is as it was afterwards.
int open_parent(char *path);

// True if something on the way to PATH's last name is there and is no directory.
bool is_inside_file(char *path);

// A later entry of the same name replaces an earlier one, whatever either is.
void remove_existing(int parent, const char *name, const char *path);

// The form in which overlayfs has it.
bool is_whiteout(const struct stat *status);

// An existing directory stays. One that replaces something else of its own layer is opaque: what was there hid what lies below.
void make_directory_at(int parent, const char *name, const char *path);
int open_directory_at(int parent, const char *name, const char *path);

// Hides what lower layers have in the directory. overlayfs does not look at the root of a layer for the mark: that it should be
// opaque is in `is_root_opaque`, for whoever stacks the layers.
void mark_opaque(int directory);
void mark_opaque_at(int parent, const char *name, const char *path);
// The socket to the parent, who does it. To be set before the first entry.
extern int parent_socket;
extern bool is_root_opaque;
