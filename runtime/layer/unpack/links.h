// Hard links, those to files that come later in the stream included.

#pragma once
#include <archive_entry.h>

// More than any tool leaves open: tar programs write the file first and its links after it. Links that wait for links in the worst order
// are tried as often as half the square of this.
#define MAX_WAITING_LINKS 1024u

// The target is a path from the layer's root. It must be in this layer: hard links do not reach across layers.
void unpack_hard_link(int parent, const char *name, struct archive_entry *entry, const char *path);

// Of devices that are left out, so that links to them are left out too. A full /dev of old has a thousand.
#define MAX_LEFT_OUT 4096u

// PATH will not come. Beyond the limit it is forgotten, and a link to it refused.
void remember_left_out(const char *path);

// After the last entry: makes the links that wait for their targets. Refuses the layer if a target never came.
void make_waiting_links(void);
