// What the confined process asks of its parent: only one thing, to mark a directory opaque, because the attribute that overlayfs
// reads (`trusted.overlay.opaque`) takes a privilege of the host's. The directory travels as a descriptor, the answer is a byte.

#pragma once

// The parent's side: lets the child go on, once; then serves it until it closes its end. DIRECTORY is the layer's root.
void send_go(int socket);
void serve_opaque_requests(int socket, int directory);

// The child's side. A parent that has died says nothing more: then this does not return.
void wait_for_go(int socket);
void ask_for_opaque(int socket, int directory);
